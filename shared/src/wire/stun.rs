//! What STUN (RFC 8489) needs beyond `stun-types`: the attributes of RFC 5780, and a parser that stays silent.
//!
//! RFC 5780 lets a client ask for the answer to come from another address or port (CHANGE-REQUEST), which shows whose
//! packets a NAT lets in. The server names the address it answered from (RESPONSE-ORIGIN) and the one it would answer from
//! when asked to change both (OTHER-ADDRESS).

use std::net::SocketAddr;

use stun_types::attribute::{
    Attribute, AttributeFromRaw, AttributeStaticType, AttributeType, AttributeWrite, AttributeWriteExt,
    MappedSocketAddr, RawAttribute,
};
use stun_types::message::{Message, MessageHeader, StunParseError};
use tracing::dispatcher::{self, Dispatch};

/// Size of every binding request of an agent, in bytes. A server never answers with more than it was asked with, and an
/// IPv6 answer with all three addresses takes 104 bytes.
pub const REQUEST_LEN: usize = 112;

/// Bytes that are not one whole STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a STUN message")]
pub struct NotStun;

/// Reads a datagram that is exactly one STUN message with the magic cookie.
pub fn read(datagram: &[u8]) -> Result<Message<'_>, NotStun> {
    // `stun-types` warns about every malformed attribute: anyone on the internet could fill our log.
    dispatcher::with_default(&Dispatch::none(), || {
        let header = MessageHeader::from_bytes(datagram)?;
        let length = MessageHeader::LENGTH + usize::from(header.data_length());
        if length == datagram.len() && length.is_multiple_of(4) {
            Message::from_bytes(datagram)
        } else {
            Err(StunParseError::NotStun)
        }
    })
    .map_err(|_| NotStun)
}

/// Whether a datagram starts as a STUN message with the magic cookie does; cheap, for sorting.
pub fn looks_like_stun(datagram: &[u8]) -> bool {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    datagram.len() >= MessageHeader::LENGTH && datagram[0] < 0x40 && datagram[4..8] == COOKIE
}

/// CHANGE-REQUEST (RFC 5780 §7.2): from where the answer is to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeRequest {
    /// From another IP address than the request was sent to.
    pub address: bool,
    /// From another port than the request was sent to.
    pub port: bool,
}

const CHANGE_ADDRESS: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;

impl AttributeStaticType for ChangeRequest {
    const TYPE: AttributeType = AttributeType::new(0x0003);
}

impl Attribute for ChangeRequest {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        4
    }
}

impl AttributeWrite for ChangeRequest {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, &self.value()).into_owned()
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        let header = self.write_header_unchecked(dest);
        dest[header..header + 4].copy_from_slice(&self.value());
    }
}

impl ChangeRequest {
    fn value(self) -> [u8; 4] {
        let address = if self.address { CHANGE_ADDRESS } else { 0 };
        let port = if self.port { CHANGE_PORT } else { 0 };
        [0, 0, 0, address | port]
    }
}

impl AttributeFromRaw<'_> for ChangeRequest {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 4..=4)?;
        let flags = raw.value[3];
        Ok(Self {
            address: flags & CHANGE_ADDRESS != 0,
            port: flags & CHANGE_PORT != 0,
        })
    }
}

macro_rules! address_attribute {
    ($(#[$doc:meta])* $name:ident, $type:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(MappedSocketAddr);

        impl $name {
            /// The attribute that carries `address`.
            pub fn new(address: SocketAddr) -> Self {
                Self(MappedSocketAddr::new(address))
            }

            /// The address it carries.
            pub fn address(&self) -> SocketAddr {
                self.0.addr()
            }
        }

        impl AttributeStaticType for $name {
            const TYPE: AttributeType = AttributeType::new($type);
        }

        impl Attribute for $name {
            fn get_type(&self) -> AttributeType {
                Self::TYPE
            }

            fn length(&self) -> u16 {
                self.0.length()
            }
        }

        impl AttributeWrite for $name {
            fn to_raw(&self) -> RawAttribute<'_> {
                self.0.to_raw(Self::TYPE)
            }

            fn write_into_unchecked(&self, dest: &mut [u8]) {
                let header = self.write_header_unchecked(dest);
                self.0.write_into_unchecked(&mut dest[header..]);
            }
        }

        impl AttributeFromRaw<'_> for $name {
            fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
                raw.check_type_and_len(Self::TYPE, ..)?;
                MappedSocketAddr::from_raw(raw).map(Self)
            }
        }
    };
}

address_attribute!(
    /// RESPONSE-ORIGIN (RFC 5780 §7.3): where the answer was sent from.
    ResponseOrigin,
    0x802b
);
address_attribute!(
    /// OTHER-ADDRESS (RFC 5780 §7.4): where the answer would come from with both changed.
    OtherAddress,
    0x802c
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stun_types::message::{BINDING, MessageClass, MessageType, MessageWriteVec};
    use stun_types::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn attributes_survive_the_wire(address: bool, port: bool, ip: std::net::IpAddr, at: u16) {
            let binding = MessageType::from_class_method(MessageClass::Request, BINDING);
            let mut message = Message::builder(binding, 7.into(), MessageWriteVec::new());
            let change = ChangeRequest { address, port };
            let other = OtherAddress::new(SocketAddr::new(ip, at));
            let origin = ResponseOrigin::new(SocketAddr::new(ip, at));
            message.add_attribute(&change).unwrap();
            message.add_attribute(&other).unwrap();
            message.add_attribute(&origin).unwrap();
            let bytes = message.finish();
            let message = read(&bytes).unwrap();
            prop_assert_eq!(message.attribute::<ChangeRequest>().unwrap(), change);
            prop_assert_eq!(message.attribute::<OtherAddress>().unwrap().address(), other.address());
            prop_assert_eq!(message.attribute::<ResponseOrigin>().unwrap(), origin);
        }
    }

    #[test]
    fn a_message_with_something_behind_it_is_refused() {
        let binding = MessageType::from_class_method(MessageClass::Request, BINDING);
        let mut bytes = Message::builder(binding, 7.into(), MessageWriteVec::new()).finish();
        assert!(read(&bytes).is_ok());
        bytes.extend_from_slice(&[0; 4]);
        assert_eq!(read(&bytes).unwrap_err(), NotStun);
    }
}
