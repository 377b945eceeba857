//! Nonces that need no memory: when it ends, and an HMAC over that and the identity key it was made for.

use hmac::{Hmac, Mac};
use lanrage_shared::ids::IdentityKey;
use lanrage_shared::token::TOLERATED_S;
use sha2::Sha256;

const EXPIRY_LEN: usize = 8;

pub(super) struct NonceKey([u8; 32]);

impl NonceKey {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A nonce for `identity` that ends at `expires_ms`.
    pub(super) fn make(&self, identity: &IdentityKey, expires_ms: u64) -> Vec<u8> {
        let expiry = expires_ms.to_be_bytes();
        let tag = self.mac(identity, &expiry).finalize().into_bytes();
        [expiry.as_slice(), &tag].concat()
    }

    /// Whether we, or a replica whose clock differs from this one's, made this nonce for `identity` and it has not ended.
    pub(super) fn accepts(&self, nonce: &[u8], identity: &IdentityKey, now_ms: u64) -> bool {
        let Some((expiry, tag)) = nonce.split_first_chunk::<EXPIRY_LEN>() else {
            return false;
        };
        self.mac(identity, expiry).verify_slice(tag).is_ok()
            && now_ms < u64::from_be_bytes(*expiry).saturating_add(TOLERATED_S * 1000)
    }

    fn mac(&self, identity: &IdentityKey, expiry: &[u8; EXPIRY_LEN]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("32 bytes are a key");
        mac.chain_update(b"lanrage nonce v1")
            .chain_update(identity.0)
            .chain_update(expiry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_serves_one_key_for_a_while() {
        let key = NonceKey::new([1; 32]);
        let anna = IdentityKey([2; 32]);
        let nonce = key.make(&anna, 1000);
        let end_ms = 1000 + TOLERATED_S * 1000;
        assert!(key.accepts(&nonce, &anna, end_ms - 1));
        assert!(!key.accepts(&nonce, &anna, end_ms));
        assert!(!key.accepts(&nonce, &IdentityKey([3; 32]), 999));
        assert!(!NonceKey::new([9; 32]).accepts(&nonce, &anna, 999));
    }

    proptest! {
        #[test]
        fn made_up_nonces_are_refused(bytes: Vec<u8>) {
            prop_assert!(!NonceKey::new([1; 32]).accepts(&bytes, &IdentityKey([2; 32]), 0));
        }
    }
}
