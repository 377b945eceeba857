//! One sealed box for everything at rest or in passing: XChaCha20-Poly1305 with a random 24-byte nonce in front.
//!
//! The nonce is long enough to be drawn at random for the life of a static key, so nothing has to remember a counter across
//! restarts.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

/// Bytes of nonce in front of the ciphertext.
pub const NONCE_LEN: usize = 24;
/// Bytes a sealed box is longer than what it holds: nonce and tag.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// The box is not what it should be: another key, another purpose, or changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this cannot be opened with the key at hand")]
pub struct CannotOpen;

/// Seals `plain` under `key`. `nonce` must be drawn at random for every call. `aad` is bound to the box but not in it.
pub fn seal(key: &[u8; 32], nonce: [u8; NONCE_LEN], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = XChaCha20Poly1305::new(Key::from_slice(key));
    #[expect(clippy::expect_used, reason = "the cipher only refuses messages over 256 GiB")]
    let body = cipher
        .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad })
        .expect("a short message can always be sealed");
    let mut sealed = Vec::with_capacity(NONCE_LEN + body.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&body);
    sealed
}

/// Opens what [`seal`] made.
pub fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CannotOpen> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(CannotOpen)?;
    XChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt(XNonce::from_slice(nonce), Payload { msg: body, aad })
        .map_err(|_| CannotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_and_purpose() {
        let sealed = seal(&[1; 32], [2; 24], b"purpose", b"hello");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(open(&[1; 32], b"purpose", &sealed).unwrap(), b"hello");
        assert_eq!(open(&[9; 32], b"purpose", &sealed), Err(CannotOpen));
        assert_eq!(open(&[1; 32], b"other", &sealed), Err(CannotOpen));
        assert_eq!(open(&[1; 32], b"purpose", &sealed[..10]), Err(CannotOpen));
    }
}
