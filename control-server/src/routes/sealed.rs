//! What requests carry that the server cannot open.

use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::seal::OVERHEAD;

use crate::error::Failure;

/// A sealed party secret: 32 bytes and what sealing adds.
pub(super) const SEALED_SECRET: usize = 32 + OVERHEAD;

/// The sealed party secret of a field.
pub(super) fn sealed_secret(text: &str, field: &str) -> Result<Vec<u8>, Failure> {
    decode(text)
        .filter(|bytes| bytes.len() == SEALED_SECRET)
        .ok_or_else(|| Failure::bad_request(format!("{field} must be {SEALED_SECRET} bytes in base64url")))
}

/// The hash by which the server knows an invite.
pub(super) fn auth_hash(text: &str) -> Result<[u8; 32], Failure> {
    decode(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Failure::bad_request("auth_hash must be 32 bytes in base64url"))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}
