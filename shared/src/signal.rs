//! What two agents tell each other through the control server: where they may be reached.
//!
//! A signal is sealed with the pair's key, so the server carries it but can neither read it nor make one up: nobody but a
//! member can have an agent send probes anywhere.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::api::presence::NatSummary;
use crate::api::relay::RelaySeat;
use crate::pair::PairKeys;
use crate::seal::{self, NONCE_LEN};

/// Most candidates a signal may carry; the rest is dropped when it is read.
pub const MAX_CANDIDATES: usize = 16;
/// Largest sealed signal in base64 characters: 16 candidates and the rest take about 1.5 KiB.
pub const MAX_SIGNAL_TEXT: usize = 4096;
/// Most relays a signal may name; the rest is dropped when it is read.
pub const MAX_RELAYS: usize = 4;
/// What is bound to the box a signal is sealed in ([`seal::seal`]).
pub const AAD: &[u8] = b"lanrage signal v1";

/// What a signal starts with that travels as a datagram through a relay, while the control server is away.
const DATAGRAM_MAGIC: [u8; 4] = [0xF5, b'L', b'R', 2];

/// Whether this may be a sealed signal, for whoever passes it on and cannot open it.
pub fn is_sealed_text(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    text.bytes().all(is_base64)
}

/// A sealed signal as a datagram for a relay.
pub fn to_datagram(sealed: &str) -> Vec<u8> {
    [&DATAGRAM_MAGIC, sealed.as_bytes()].concat()
}

/// The sealed signal in a datagram, if it looks like one.
pub fn from_datagram(datagram: &[u8]) -> Option<&str> {
    std::str::from_utf8(datagram.strip_prefix(&DATAGRAM_MAGIC)?).ok()
}

/// How an agent came to know one of its addresses (RFC 8445 §5.1.1 calls the first two host candidates, the third server
/// reflexive). The order is the order of preference between paths of equal speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateKind {
    /// An IPv4 address of one of its interfaces.
    Lan,
    /// A global or unique-local IPv6 address of one of its interfaces.
    Ipv6,
    /// Opened on the router by UPnP-IGD, NAT-PMP or PCP.
    PortMapped,
    /// As a STUN server saw it.
    Mapped,
    /// Where a sealed probe of the peer came from (peer reflexive). Never signalled.
    Observed,
}

/// An address a peer may be reached at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// How it was learned.
    pub kind: CandidateKind,
    /// Where to send.
    pub address: SocketAddr,
}

/// "Here is where I may be reached; probe me now, I am probing you."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Counts up with every signal of one run of the agent, so that an old one arriving late changes nothing.
    pub generation: u64,
    /// When the sender's run began, in ms of party time; a higher run supersedes every generation of a lower one.
    pub run: u64,
    /// The sender wants the receiver's candidates in return.
    pub wants_answer: bool,
    /// What the sender's NAT is like.
    pub nat: NatSummary,
    /// The relays the sender is connected to, its home relay first; at most [`MAX_RELAYS`].
    #[serde(default)]
    pub relays: Vec<RelaySeat>,
    /// The sender's addresses, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// While the sender tries to get through its own NAT by guessing: where it sends to the receiver from.
    #[serde(default)]
    pub guess: Option<PortGuess>,
}

/// Where a NAT that gives every destination another port has its mappings towards the receiver of a signal: on ports that only
/// the NAT knows, but that may follow a pattern (RFC 5128 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortGuess {
    /// Tells the sender's attempts apart; the receiver answers each once.
    pub attempt: u32,
    /// The NAT's public address.
    pub address: IpAddr,
    /// Ports to try; none: the NAT draws them at random, and so must whoever looks for one.
    pub ports: Option<PortRange>,
}

/// Ports in a row; never empty, and none of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Most ports in a [`PortRange`]: all are tried at once, and a router takes no more new mappings a second than that.
pub const MAX_GUESSED_PORTS: u16 = 32;

impl PortRange {
    /// The ports from `first` to `last`, if there are any and not too many.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (0 < first && first <= last && last - first < MAX_GUESSED_PORTS).then_some(Self { first, last })
    }

    /// The ports, lowest first.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = &'static str;

    fn try_from((first, last): (u16, u16)) -> Result<Self, Self::Error> {
        Self::new(first, last).ok_or("not a range of ports")
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

/// A signal that cannot be read: forged, for another pair, or from another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signal that this pair's keys do not open")]
pub struct Unreadable;

impl Signal {
    /// The sealed text for the control server to carry. `nonce` must be random.
    pub fn seal(&self, keys: &PairKeys, nonce: [u8; NONCE_LEN]) -> String {
        #[expect(
            clippy::expect_used,
            reason = "a plain struct of numbers and addresses always serialises"
        )]
        let plain = serde_json::to_vec(self).expect("a signal is plain data");
        BASE64.encode(&seal::seal(&keys.signal_send, nonce, AAD, &plain))
    }

    /// Opens what the peer sealed.
    pub fn open(text: &str, keys: &PairKeys) -> Result<Self, Unreadable> {
        if text.len() > MAX_SIGNAL_TEXT {
            return Err(Unreadable);
        }
        let sealed = BASE64.decode(text.as_bytes()).map_err(|_| Unreadable)?;
        let plain = seal::open(&keys.signal_receive, AAD, &sealed).map_err(|_| Unreadable)?;
        let mut signal: Self = serde_json::from_slice(&plain).map_err(|_| Unreadable)?;
        signal.candidates.truncate(MAX_CANDIDATES);
        signal.relays.truncate(MAX_RELAYS);
        Ok(signal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::keys::{DeviceSecret, PartySecret};

    /// The keys of two members, each one's for the other.
    fn pair() -> (PairKeys, PairKeys) {
        let (a, b) = (DeviceSecret::from_bytes([1; 32]), DeviceSecret::from_bytes([2; 32]));
        let secret = PartySecret::from_bytes([3; 32]);
        (
            PairKeys::derive(&secret, &a, &b.public()),
            PairKeys::derive(&secret, &b, &a.public()),
        )
    }

    fn signal(candidates: usize) -> Signal {
        let candidate = Candidate {
            kind: CandidateKind::Mapped,
            address: "203.0.113.1:5".parse().unwrap(),
        };
        Signal {
            generation: 1,
            run: 2,
            wants_answer: true,
            nat: NatSummary::default(),
            relays: vec![],
            candidates: vec![candidate; candidates],
            guess: None,
        }
    }

    /// What a member that speaks no known language might seal.
    fn sealed(plain: &[u8], keys: &PairKeys) -> String {
        BASE64.encode(&seal::seal(&keys.signal_send, [7; NONCE_LEN], AAD, plain))
    }

    #[test]
    fn only_the_peer_reads_a_signal_and_a_server_cannot_make_one() {
        let (a, b) = (DeviceSecret::from_bytes([1; 32]), DeviceSecret::from_bytes([2; 32]));
        let (ab, ba) = pair();
        let signal = signal(20);
        let text = signal.seal(&ab, [7; NONCE_LEN]);
        assert_eq!(Signal::open(&text, &ba).unwrap().candidates.len(), MAX_CANDIDATES);
        assert_eq!(Signal::open(&text, &ab), Err(Unreadable));
        let server = PairKeys::derive(&PartySecret::from_bytes([0; 32]), &a, &b.public());
        assert_eq!(
            Signal::open(&signal.seal(&server, [7; NONCE_LEN]), &ba),
            Err(Unreadable)
        );
    }

    #[test]
    fn a_range_of_ports_is_short_and_has_no_port_zero() {
        let read = |text| serde_json::from_str::<PortRange>(text).map(|range| range.ports().count());
        assert_eq!(read("[65504, 65535]").unwrap(), 32);
        for bad in ["[0, 5]", "[9, 8]", "[1, 33]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_member_sealed_is_a_signal_or_refused(plain: Vec<u8>, text: String) {
            let (ab, ba) = pair();
            prop_assert!(Signal::open(&text, &ba).is_err());
            prop_assert!(Signal::open(&sealed(&plain, &ab), &ba).is_err());
        }

        #[test]
        fn a_signal_with_any_one_field_is_bounded_or_refused(
            field in 0..7_usize,
            value in prop_oneof![
                any::<i64>().prop_map(|number| json!(number)),
                any::<f64>().prop_map(|number| json!(number)),
                any::<String>().prop_map(|text| json!(text)),
                (0..40_usize).prop_map(|length| json!(signal(length).candidates)),
                proptest::collection::vec("[a-z0-9-]{0,40}", 0..9).prop_map(|list| json!(list)),
                Just(json!(null)),
            ],
        ) {
            let (ab, ba) = pair();
            let mut plain = serde_json::to_value(signal(1)).unwrap();
            *plain.as_object_mut().unwrap().values_mut().nth(field).unwrap() = value;
            if let Ok(signal) = Signal::open(&sealed(plain.to_string().as_bytes(), &ab), &ba) {
                prop_assert!(signal.candidates.len() <= MAX_CANDIDATES && signal.relays.len() <= MAX_RELAYS);
            }
        }
    }
}
