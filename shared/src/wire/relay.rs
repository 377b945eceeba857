//! What agents and relays say to each other.
//!
//! The same frames travel as QUIC datagrams and, where UDP is blocked, over TLS on TCP with a 2-byte length before each. A
//! frame names a member of the sender's own party and nothing else: on the way to the relay where it should go, on the way
//! from it where it came from. No frame can name an IP address.
//!
//! ```text
//! 0  kind     1
//! 1  member   2   big endian
//! 3  flags    1
//! 4  payload      up to the end
//! ```
//!
//! The control channel (one QUIC stream, or frames of kind [`FrameKind::Control`] over TCP) carries JSON: [`Hello`] first,
//! then [`ToRelay`] and [`FromRelay`].

use serde::{Deserialize, Serialize};
use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::api::error::ApiError;
use crate::ids::MemberId;
use crate::keys::Signature;

/// The application protocol of both transports (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"lanrage-relay/1";
/// Label of the TLS exporter (RFC 8446 §7.5) that a hello signs: a hello is worth nothing on any other connection.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-lanrage-relay-hello-1";
/// Bytes of header before every payload.
pub const HEADER_LEN: usize = size_of::<RawHeader>();
/// Largest payload of one frame: a WireGuard packet of the largest MTU an agent uses, with room.
pub const MAX_PAYLOAD: usize = 2048;
/// Largest control message, in bytes.
pub const MAX_CONTROL: usize = 16 * 1024;
/// The numbers of payloads that a relay splits, because its receiver's path takes less than the sender's, begin here; senders
/// number below.
pub const RELAY_SPLITS: u16 = 0x8000;
/// Bytes before each half of a split payload: which payload it is a half of.
const SPLIT_LEN: usize = 2;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A WireGuard packet or a probe, from member to member.
    Data,
    /// The relay could not pass on a frame to the named member; the payload is one byte, a [`NoticeReason`].
    Notice,
    /// JSON of the control channel. Only over TCP.
    Control,
}

/// Why the relay did not pass on a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeReason {
    /// No such member of this party is connected to this relay.
    NotConnected,
    /// The sender is over its rate limit.
    RateLimited,
}

/// Which part of a payload a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// Of the split payload with this number.
    First(u16),
    Second(u16),
}

/// A frame, borrowed from the bytes it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: FrameKind,
    pub member: MemberId,
    pub part: Part,
    pub payload: &'a [u8],
}

/// Bytes that are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of an unknown kind")]
    UnknownKind,
    #[error("a frame that is cut short, too long, or of another version")]
    Malformed,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    kind: u8,
    member: U16,
    flags: u8,
}

const FLAG_FIRST: u8 = 1;
const FLAG_SECOND: u8 = 2;

impl FrameKind {
    fn number(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Notice => 2,
            Self::Control => 3,
        }
    }
}

impl NoticeReason {
    /// As sent.
    pub fn number(self) -> u8 {
        match self {
            Self::NotConnected => 1,
            Self::RateLimited => 2,
        }
    }

    /// As received; none from a newer relay.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        match payload {
            [1] => Some(Self::NotConnected),
            [2] => Some(Self::RateLimited),
            _ => None,
        }
    }
}

impl<'a> Frame<'a> {
    /// A whole payload for (or from) a member.
    pub fn data(member: MemberId, payload: &'a [u8]) -> Self {
        Self {
            kind: FrameKind::Data,
            member,
            part: Part::Whole,
            payload,
        }
    }

    /// Reads a frame that fills `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (header, rest) = RawHeader::read_from_prefix(bytes).map_err(|_| FrameError::Malformed)?;
        let kind = match header.kind {
            1 => FrameKind::Data,
            2 => FrameKind::Notice,
            3 => FrameKind::Control,
            _ => return Err(FrameError::UnknownKind),
        };
        let (part, payload) = match header.flags {
            0 => (Part::Whole, rest),
            FLAG_FIRST | FLAG_SECOND if kind == FrameKind::Data => {
                let (number, half) = rest.split_first_chunk::<SPLIT_LEN>().ok_or(FrameError::Malformed)?;
                let number = u16::from_be_bytes(*number);
                let part = if header.flags == FLAG_FIRST {
                    Part::First(number)
                } else {
                    Part::Second(number)
                };
                (part, half)
            }
            _ => return Err(FrameError::Malformed),
        };
        let longest = if kind == FrameKind::Control {
            MAX_CONTROL
        } else {
            MAX_PAYLOAD
        };
        if payload.len() > longest {
            return Err(FrameError::Malformed);
        }
        Ok(Self {
            kind,
            member: MemberId(header.member.get()),
            part,
            payload,
        })
    }

    /// Appends the frame to `out`.
    pub fn write(&self, out: &mut impl Extend<u8>) {
        let (flags, number) = match self.part {
            Part::Whole => (0, None),
            Part::First(number) => (FLAG_FIRST, Some(number)),
            Part::Second(number) => (FLAG_SECOND, Some(number)),
        };
        let header = RawHeader {
            kind: self.kind.number(),
            member: self.member.0.into(),
            flags,
        };
        out.extend(header.as_bytes().iter().copied());
        if let Some(number) = number {
            out.extend(number.to_be_bytes());
        }
        out.extend(self.payload.iter().copied());
    }

    /// Length of the frame in bytes.
    pub fn len(&self) -> usize {
        let split = if self.part == Part::Whole { 0 } else { SPLIT_LEN };
        HEADER_LEN + split + self.payload.len()
    }

    /// Never: a frame has a header.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Writes to `bytes` which member a frame is for or from: what a relay does to every frame it passes on. Gives false when
/// `bytes` is too short to be one.
pub fn readdress(bytes: &mut [u8], member: MemberId) -> bool {
    match RawHeader::mut_from_prefix(bytes) {
        Ok((header, _)) => {
            header.member = member.0.into();
            true
        }
        Err(_) => false,
    }
}

/// The frames that carry `payload` where no frame may be longer than `budget` bytes: one, or two halves with `number`.
/// None when not even halves fit.
pub fn split(member: MemberId, payload: &[u8], budget: usize, number: u16) -> Option<(Frame<'_>, Option<Frame<'_>>)> {
    let whole = Frame::data(member, payload);
    if whole.len() <= budget {
        return Some((whole, None));
    }
    let (first, second) = payload.split_at(payload.len().div_ceil(2));
    let half = |part, payload| Frame { part, payload, ..whole };
    let (first, second) = (half(Part::First(number), first), half(Part::Second(number), second));
    (first.len() <= budget).then_some((first, Some(second)))
}

/// The first message on the control channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// A relay token ([`crate::token::RelayClaims`]).
    pub token: String,
    /// By the device's identity key over [`hello_proof`].
    pub signature: Signature,
}

/// What a hello signs: this relay token on this very TLS session.
pub fn hello_proof(exported: &[u8; 32], token: &str) -> Vec<u8> {
    [b"lanrage relay hello v1\0".as_slice(), exported, token.as_bytes()].concat()
}

/// Agent to relay, after the hello.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToRelay {
    /// A newer token for the same member, before the old one ends or after the epoch changed.
    Renew { hello: Hello },
}

/// Relay to agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRelay {
    /// The hello (or a renewal) was accepted. The session ends at `expires_at` (Unix seconds) unless renewed.
    Welcome { expires_at: u64 },
    /// The relay is about to stop: move elsewhere within `seconds`; it goes on until then.
    Drain { seconds: u16 },
    /// The session is over.
    Bye { error: ApiError },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(frame) = Frame::parse(&bytes) {
                prop_assert_eq!(frame.len(), bytes.len());
                prop_assert_eq!(written(&frame), bytes);
            }
        }

        #[test]
        fn any_control_text_is_read_or_refused(text in "\\PC*") {
            let _ = serde_json::from_str::<Hello>(&text);
            let _ = serde_json::from_str::<ToRelay>(&text);
            let _ = serde_json::from_str::<FromRelay>(&text);
        }

        #[test]
        fn a_payload_survives_any_budget_it_fits_in(
            payload in proptest::collection::vec(any::<u8>(), 0..MAX_PAYLOAD), budget in 0usize..1500, number: u16,
        ) {
            let Some((first, second)) = split(MemberId(7), &payload, budget, number) else {
                prop_assert!(HEADER_LEN + SPLIT_LEN + payload.len().div_ceil(2) > budget);
                return Ok(());
            };
            let mut joined = vec![];
            for (frame, expected) in [Some((first, 1)), second.map(|second| (second, 2))].into_iter().flatten() {
                let bytes = written(&frame);
                prop_assert!(bytes.len() <= budget);
                let read = Frame::parse(&bytes).unwrap();
                match read.part {
                    Part::Whole => prop_assert!(second.is_none()),
                    Part::First(n) => prop_assert_eq!((n, expected), (number, 1)),
                    Part::Second(n) => prop_assert_eq!((n, expected), (number, 2)),
                }
                joined.extend_from_slice(read.payload);
            }
            prop_assert_eq!(joined, payload);
        }

        #[test]
        fn a_relay_changes_only_the_member(payload: Vec<u8>, from in 1u16..255, to in 1u16..255) {
            let mut bytes = written(&Frame::data(MemberId(to), &payload));
            prop_assert!(readdress(&mut bytes, MemberId(from)));
            prop_assert_eq!(Frame::parse(&bytes), Ok(Frame::data(MemberId(from), &payload)));
        }
    }
}
