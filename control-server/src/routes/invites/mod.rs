//! `/v1/parties/{id}/invites`, `/v1/invites`.

mod create;
mod redeem;

use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::api::invite::{MAX_LIFETIME_S, NewInvite};
use lanrage_shared::seal::OVERHEAD;
use lanrage_store::NewInviteRow;
use uuid::Uuid;

pub use self::create::create;
pub use self::redeem::redeem;
use crate::error::Failure;

/// A sealed party secret: 32 bytes and what sealing adds.
const SEALED_SECRET: usize = 32 + OVERHEAD;

/// A checked invite, not in the store yet.
pub(super) fn new_invite(request: &NewInvite, now_ms: u64) -> Result<NewInviteRow, Failure> {
    let auth_hash = decode(&request.auth_hash)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Failure::bad_request("auth_hash must be 32 bytes in base64url"))?;
    let sealed_secret = decode(&request.sealed_secret)
        .filter(|bytes| bytes.len() == SEALED_SECRET)
        .ok_or_else(|| Failure::bad_request(format!("sealed_secret must be {SEALED_SECRET} bytes in base64url")))?;
    if !(1..=MAX_LIFETIME_S).contains(&request.expires_in_s) {
        let days = MAX_LIFETIME_S / (24 * 3600);
        return Err(Failure::bad_request(format!(
            "an invite lasts between one second and {days} days"
        )));
    }
    if request.max_uses == Some(0) {
        return Err(Failure::bad_request("an invite must admit at least one device"));
    }
    Ok(NewInviteRow {
        id: Uuid::new_v4(),
        auth_hash,
        sealed_secret,
        expires_at_ms: now_ms + request.expires_in_s * 1000,
        max_uses: request.max_uses,
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}
