//! Path probes: sealed datagrams by which two members prove that an address reaches the other, and measure how fast.
//!
//! ```text
//! 0   magic   4   F5 'L' 'R' 01   (never a WireGuard type, a STUN message or a QUIC packet)
//! 4   tag     4   which pair and direction, so the receiver finds the key
//! 8   nonce  24   random
//! 32  sealed 68   52 bytes of content and 16 of authentication, XChaCha20-Poly1305, header as associated data
//! ```
//!
//! Every probe is 100 bytes, a question as long as its answer, so nobody can use an agent to amplify traffic.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::pair::ProbeKey;
use crate::seal::{self, NONCE_LEN};

/// First bytes of every probe; the last is the version.
pub const MAGIC: [u8; 4] = [0xF5, b'L', b'R', 1];
/// Length of every probe in bytes.
pub const LEN: usize = HEADER_LEN + size_of::<RawBody>() + seal::OVERHEAD;
const HEADER_LEN: usize = 8;

/// Which way a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// "Are you there?"
    Ping,
    /// "Yes; I saw you at this address."
    Pong,
}

/// A probe's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    /// In a ping: the sender has proven this path and uses it for its traffic.
    pub in_use: bool,
    /// Chosen by the pinger, returned in the pong.
    pub transaction: u64,
    /// Start of the sender's run in ms of party time: one replay window per run.
    pub run: u64,
    /// Counts up with every probe of the run to this peer.
    pub counter: u64,
    /// Party time at the sender in ms.
    pub sent_ms: u64,
    /// In a pong: where the ping came from.
    pub observed: Option<SocketAddr>,
}

/// Why bytes are not a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error("not a probe")]
    NotAProbe,
    #[error("not sealed with this pair's key")]
    Forged,
    #[error("a probe of another version")]
    Malformed,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawBody {
    kind: u8,
    flags: u8,
    observed_port: U16,
    transaction: U64,
    run: U64,
    counter: U64,
    /// 48 bits are enough until the year 10889.
    sent_ms: [u8; 6],
    reserved: [u8; 2],
    /// IPv4 as mapped IPv6, unspecified when absent.
    observed_ip: [u8; 16],
}

const FLAG_IN_USE: u8 = 1;

/// The tag of a datagram that looks like a probe.
pub fn tag_of(datagram: &[u8]) -> Option<[u8; 4]> {
    let looks_right = datagram.len() == LEN && datagram.starts_with(&MAGIC);
    looks_right.then(|| [datagram[4], datagram[5], datagram[6], datagram[7]])
}

impl Probe {
    /// The sealed datagram. `nonce` must be random.
    pub fn seal(&self, key: &ProbeKey, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let (observed_ip, observed_port) = match self.observed {
            Some(SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped().octets(), v4.port()),
            Some(SocketAddr::V6(v6)) => (v6.ip().octets(), v6.port()),
            None => (Ipv6Addr::UNSPECIFIED.octets(), 0),
        };
        let sent = self.sent_ms.to_be_bytes();
        let body = RawBody {
            kind: match self.kind {
                ProbeKind::Ping => 1,
                ProbeKind::Pong => 2,
            },
            flags: if self.in_use { FLAG_IN_USE } else { 0 },
            observed_port: observed_port.into(),
            transaction: self.transaction.into(),
            run: self.run.into(),
            counter: self.counter.into(),
            sent_ms: [sent[2], sent[3], sent[4], sent[5], sent[6], sent[7]],
            reserved: [0; 2],
            observed_ip,
        };
        let mut datagram = Vec::with_capacity(LEN);
        datagram.extend_from_slice(&MAGIC);
        datagram.extend_from_slice(&key.tag);
        let sealed = seal::seal(&key.key, nonce, &datagram, body.as_bytes());
        datagram.extend_from_slice(&sealed);
        datagram
    }

    /// Reads a datagram sealed with `key`.
    pub fn open(datagram: &[u8], key: &ProbeKey) -> Result<Self, ProbeError> {
        tag_of(datagram).ok_or(ProbeError::NotAProbe)?;
        let (header, sealed) = datagram.split_at(HEADER_LEN);
        let plain = seal::open(&key.key, header, sealed).map_err(|_| ProbeError::Forged)?;
        let body = RawBody::read_from_bytes(&plain).map_err(|_| ProbeError::Malformed)?;
        let kind = match body.kind {
            1 => ProbeKind::Ping,
            2 => ProbeKind::Pong,
            _ => return Err(ProbeError::Malformed),
        };
        let ip = Ipv6Addr::from(body.observed_ip);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        let [a, b, c, d, e, f] = body.sent_ms;
        Ok(Self {
            kind,
            in_use: body.flags & FLAG_IN_USE != 0,
            transaction: body.transaction.get(),
            run: body.run.get(),
            counter: body.counter.get(),
            sent_ms: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            observed: (!ip.is_unspecified()).then(|| SocketAddr::new(ip, body.observed_port.get())),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ProbeKey {
        ProbeKey {
            key: [1; 32],
            tag: *b"abcd",
        }
    }

    fn any_probe() -> impl Strategy<Value = Probe> {
        (
            any::<bool>(),
            any::<bool>(),
            any::<[u64; 3]>(),
            0..1u64 << 48,
            proptest::option::of(any::<(u32, u16)>()),
        )
            .prop_map(|(ping, in_use, [transaction, run, counter], sent_ms, observed)| Probe {
                kind: if ping { ProbeKind::Ping } else { ProbeKind::Pong },
                in_use,
                transaction,
                run,
                counter,
                sent_ms,
                observed: observed.map(|(ip, port)| SocketAddr::new(IpAddr::V4((ip | 1).into()), port)),
            })
    }

    proptest! {
        #[test]
        fn a_probe_survives_the_wire(probe in any_probe(), nonce: [u8; NONCE_LEN]) {
            let datagram = probe.seal(&key(), nonce);
            prop_assert_eq!(datagram.len(), LEN);
            prop_assert_eq!(tag_of(&datagram), Some(*b"abcd"));
            prop_assert_eq!(Probe::open(&datagram, &key()), Ok(probe));
        }

        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Probe::open(&bytes, &key()).is_err());
        }

        #[test]
        fn any_sealed_bytes_are_parsed_or_refused(plain in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut datagram = [MAGIC, key().tag].concat();
            let sealed = seal::seal(&key().key, [0; NONCE_LEN], &datagram, &plain);
            datagram.extend_from_slice(&sealed);
            let _ = Probe::open(&datagram, &key());
        }

        #[test]
        fn a_changed_bit_is_noticed(probe in any_probe(), bit in 0..LEN * 8) {
            let mut datagram = probe.seal(&key(), [9; NONCE_LEN]);
            datagram[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Probe::open(&datagram, &key()).is_err());
        }
    }
}
