//! The keys two members share without a word to the server.
//!
//! Everything follows from the party secret (which the server never sees) and, for what only the two may read, from their
//! X25519 agreement. So a control server that adds a device of its own to a party, or swaps somebody's key, has a member
//! nobody can talk to.

use std::cmp::Ordering;

use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::PublicKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::ids::DeviceKey;
use crate::keys::{DeviceSecret, PartySecret};
use crate::seal::{self, CannotOpen, NONCE_LEN};

/// Everything member A needs to speak to member B. The other side derives the same keys with `send` and `receive` swapped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PairKeys {
    /// WireGuard's pre-shared key: HKDF(party secret, both public keys).
    pub psk: [u8; 32],
    /// Seals probes to the peer.
    pub probe_send: ProbeKey,
    /// Opens probes from the peer.
    pub probe_receive: ProbeKey,
    /// Seals signals to the peer.
    pub signal_send: [u8; 32],
    /// Opens signals from the peer.
    pub signal_receive: [u8; 32],
    /// Seals the next party secret to the peer.
    secret_send: [u8; 32],
    /// Opens the next party secret from the peer.
    secret_receive: [u8; 32],
}

/// One direction of a pair's probes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ProbeKey {
    /// The sealing key.
    pub key: [u8; 32],
    /// Sent in the clear so that the receiver finds the key; tells an observer no more than that two probes belong together.
    pub tag: [u8; 4],
}

impl PairKeys {
    /// Derives the keys of the pair (`mine`, `theirs`) in the party that knows `secret`.
    pub fn derive(secret: &PartySecret, mine: &DeviceSecret, theirs: &DeviceKey) -> Self {
        let my_key = mine.public();
        let psk = pair_psk(secret, &my_key, theirs);
        let agreed = mine.x25519().diffie_hellman(&PublicKey::from(theirs.0));
        let expand = |label: &[u8], from: &DeviceKey, to: &DeviceKey| {
            hkdf(&psk, agreed.as_bytes(), &[b"lanrage ", label, b" v1", &from.0, &to.0])
        };
        let probe = |from: &DeviceKey, to: &DeviceKey| {
            let tag = expand(b"probe tag", from, to);
            ProbeKey {
                key: expand(b"probe", from, to),
                tag: [tag[0], tag[1], tag[2], tag[3]],
            }
        };
        Self {
            psk,
            probe_send: probe(&my_key, theirs),
            probe_receive: probe(theirs, &my_key),
            signal_send: expand(b"signal", &my_key, theirs),
            signal_receive: expand(b"signal", theirs, &my_key),
            secret_send: expand(b"secret", &my_key, theirs),
            secret_receive: expand(b"secret", theirs, &my_key),
        }
    }

    /// The party secret of `epoch` for the peer, as base64url. `nonce` must be random.
    pub fn seal_secret(&self, secret: &PartySecret, epoch: u32, nonce: [u8; NONCE_LEN]) -> String {
        BASE64URL_NOPAD.encode(&seal::seal(
            &self.secret_send,
            nonce,
            &secret_aad(epoch),
            secret.expose(),
        ))
    }

    /// The party secret of `epoch` that the peer sealed.
    pub fn open_secret(&self, sealed: &str, epoch: u32) -> Result<PartySecret, CannotOpen> {
        let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| CannotOpen)?;
        let plain = Zeroizing::new(seal::open(&self.secret_receive, &secret_aad(epoch), &sealed)?);
        let bytes = plain.as_slice().try_into().map_err(|_| CannotOpen)?;
        Ok(PartySecret::from_bytes(bytes))
    }
}

fn secret_aad(epoch: u32) -> Vec<u8> {
    [b"lanrage party secret v1".as_slice(), &epoch.to_be_bytes()].concat()
}

/// WireGuard's pre-shared key of a pair, the same from both sides.
fn pair_psk(secret: &PartySecret, a: &DeviceKey, b: &DeviceKey) -> [u8; 32] {
    let (low, high) = if a.cmp(b) == Ordering::Less { (a, b) } else { (b, a) };
    hkdf(b"lanrage psk v1", secret.expose(), &[&low.0, &high.0])
}

fn hkdf(salt: &[u8], material: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut key = [0; 32];
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes")]
    Hkdf::<Sha256>::new(Some(salt), material)
        .expand_multi_info(info, &mut key)
        .expect("32 bytes can be expanded");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(byte: u8) -> DeviceSecret {
        DeviceSecret::from_bytes([byte; 32])
    }

    #[test]
    fn both_sides_derive_the_same_keys_crosswise() {
        let secret = PartySecret::from_bytes([1; 32]);
        let ab = PairKeys::derive(&secret, &device(2), &device(3).public());
        let ba = PairKeys::derive(&secret, &device(3), &device(2).public());
        assert_eq!(ab.psk, ba.psk);
        assert_eq!(ab.probe_send.key, ba.probe_receive.key);
        assert_eq!(ab.probe_send.tag, ba.probe_receive.tag);
        assert_eq!(ab.signal_send, ba.signal_receive);
        assert_ne!(ab.probe_send.key, ab.probe_receive.key);
        assert_ne!(ab.signal_send, ab.signal_receive);
    }

    #[test]
    fn without_the_party_secret_nothing_matches() {
        let right = PairKeys::derive(&PartySecret::from_bytes([1; 32]), &device(2), &device(3).public());
        let guess = PairKeys::derive(&PartySecret::from_bytes([9; 32]), &device(2), &device(3).public());
        assert_ne!(right.psk, guess.psk);
        assert_ne!(right.probe_send.key, guess.probe_send.key);
        assert_ne!(right.signal_send, guess.signal_send);
    }

    #[test]
    fn the_next_secret_is_opened_by_its_receiver_alone_and_in_its_epoch() {
        let secret = PartySecret::from_bytes([1; 32]);
        let next = PartySecret::from_bytes([9; 32]);
        let from = PairKeys::derive(&secret, &device(2), &device(3).public());
        let to = PairKeys::derive(&secret, &device(3), &device(2).public());
        let sealed = from.seal_secret(&next, 4, [7; NONCE_LEN]);
        assert_eq!(to.open_secret(&sealed, 4), Ok(next));
        assert_eq!(to.open_secret(&sealed, 5), Err(CannotOpen));
        assert_eq!(from.open_secret(&sealed, 4), Err(CannotOpen));
        let removed = PairKeys::derive(&secret, &device(4), &device(2).public());
        assert_eq!(removed.open_secret(&sealed, 4), Err(CannotOpen));
        let server = PairKeys::derive(&PartySecret::from_bytes([0; 32]), &device(3), &device(2).public());
        assert_eq!(server.open_secret(&sealed, 4), Err(CannotOpen));
    }

    #[test]
    fn a_pair_shares_nothing_with_another_pair() {
        let secret = PartySecret::from_bytes([1; 32]);
        let ab = PairKeys::derive(&secret, &device(2), &device(3).public());
        let ac = PairKeys::derive(&secret, &device(2), &device(4).public());
        assert_ne!(ab.psk, ac.psk);
    }
}
