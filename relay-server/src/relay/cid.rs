//! The connection ids a relay gives to its members' connections.
//!
//! The library's own have 24 random bits. With 2,000 sessions, each of which holds several, one new connection in 1,500 is
//! given an id by its Retry that another one has, and its packets are lost to that one until it gives up (measured). Ours
//! have 64 random bits, and a tag that tells them from what strangers make up.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use lanrage_relay_client::transport;
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;

const NONCE_LEN: usize = 8;
const TAG_LEN: usize = transport::RELAY_ID - NONCE_LEN;

/// Random ids with a keyed tag; the key lasts as long as the process.
#[derive(Debug, Clone, Default)]
pub(super) struct TaggedIds(RandomState);

impl TaggedIds {
    fn tag(&self, nonce: &[u8]) -> [u8; TAG_LEN] {
        let [a, b, c, d, ..] = self.0.hash_one(nonce).to_be_bytes();
        [a, b, c, d]
    }
}

impl ConnectionIdGenerator for TaggedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut id = [0; NONCE_LEN + TAG_LEN];
        id[..NONCE_LEN].copy_from_slice(&nonce);
        id[NONCE_LEN..].copy_from_slice(&self.tag(&nonce));
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.split_at_checked(NONCE_LEN) {
            Some((nonce, tag)) if tag == self.tag(nonce) => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        NONCE_LEN + TAG_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_told_from_made_up_ones_and_do_not_collide() {
        let mut ids = TaggedIds::default();
        let many: BTreeSet<Vec<u8>> = (0..100_000).map(|_| ids.generate_cid().to_vec()).collect();
        assert_eq!(many.len(), 100_000);
        for mut id in many.into_iter().take(100) {
            assert!(ids.validate(&ConnectionId::new(&id)).is_ok());
            id[3] ^= 1;
            assert!(ids.validate(&ConnectionId::new(&id)).is_err());
            assert!(TaggedIds::default().validate(&ConnectionId::new(&id)).is_err());
        }
        assert!(ids.validate(&ConnectionId::new(&[1, 2, 3])).is_err());
    }
}
