//! Binding requests out, their answers in.

use std::net::SocketAddr;

use lanrage_shared::wire::stun::{self, ChangeRequest, OtherAddress, REQUEST_LEN};
use stun_types::attribute::{Software, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageType, MessageWriteVec};
use stun_types::prelude::*;

/// Says which question an answer belongs to: 96 random bits that only the asked server sees.
pub(super) type TransactionId = u128;
/// The bits of a transaction id.
pub(super) const TRANSACTION_MASK: u128 = (1 << 96) - 1;

/// Filled with spaces, the request has room for the whole answer. SOFTWARE rather than PADDING (RFC 5780 §7.6), because a
/// server that does not know PADDING must refuse the request.
const SOFTWARE: &str = "LANrage";

/// A binding request of [`REQUEST_LEN`] bytes.
pub(super) fn request(id: TransactionId, change: ChangeRequest) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
    let mut message = Message::builder(kind, id.into(), MessageWriteVec::with_capacity(REQUEST_LEN));
    let mut add = |attribute: &dyn AttributeWrite| {
        let added = message.add_attribute(attribute);
        debug_assert!(added.is_ok(), "a fresh request takes its attributes");
    };
    let changing = if change == ChangeRequest::default() {
        0
    } else {
        add(&change);
        change.padded_len()
    };
    let room = REQUEST_LEN - 20 - changing - 4;
    if let Ok(software) = Software::new(&format!("{SOFTWARE:<room$}")) {
        add(&software);
    }
    message.finish()
}

/// A server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) id: TransactionId,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server saw the request come from `mapped`; `other` is its OTHER-ADDRESS.
    Mapped {
        mapped: SocketAddr,
        other: Option<SocketAddr>,
    },
    /// An error response: the server does not do what was asked.
    Refused,
}

/// Reads a binding response; none when the datagram is anything else.
pub(super) fn answer(datagram: &[u8]) -> Option<Answer> {
    let message = stun::read(datagram)
        .ok()
        .filter(|message| message.has_method(BINDING))?;
    let id = message.transaction_id();
    let outcome = match message.class() {
        MessageClass::Success => {
            let mapped = message.attribute::<XorMappedAddress>().ok()?.addr(id);
            if mapped.port() == 0 || mapped.ip().is_unspecified() || mapped.ip().is_multicast() {
                return None;
            }
            let other = message.attribute::<OtherAddress>().ok().map(|other| other.address());
            Outcome::Mapped { mapped, other }
        }
        MessageClass::Error => Outcome::Refused,
        MessageClass::Request | MessageClass::Indication => return None,
    };
    Some(Answer { id: id.into(), outcome })
}

#[cfg(test)]
mod unit {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_request_has_the_same_length() {
        for (address, port) in [(false, false), (false, true), (true, true)] {
            let bytes = request(7, ChangeRequest { address, port });
            assert_eq!(bytes.len(), REQUEST_LEN);
            let message = stun::read(&bytes).unwrap();
            assert_eq!(u128::from(message.transaction_id()), 7);
            let change = message.attribute::<ChangeRequest>().unwrap_or_default();
            assert_eq!(change, ChangeRequest { address, port });
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = answer(&bytes);
        }

        #[test]
        fn near_answers_are_read_or_ignored(
            kind in prop_oneof![Just(0x0101_u16), Just(0x0111)],
            attributes in proptest::collection::vec((prop_oneof![Just(0x0020_u16), Just(0x802c)], any::<[u8; 8]>()), 0..4),
        ) {
            let mut bytes = kind.to_be_bytes().to_vec();
            bytes.extend(u16::try_from(attributes.len() * 12).unwrap().to_be_bytes());
            bytes.extend([0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
            for (kind, value) in attributes {
                bytes.extend(kind.to_be_bytes());
                bytes.extend([0, 8]);
                bytes.extend(value);
            }
            let _ = answer(&bytes);
        }
    }
}
