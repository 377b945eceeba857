//! What to answer to one datagram, and from where.

use std::net::{IpAddr, SocketAddr};

use lanrage_shared::wire::stun::{self, ChangeRequest};
use stun_types::attribute::{
    AttributeStaticType, AttributeType, MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm, Realm,
    Userhash, Username,
};
use stun_types::message::{BINDING, Message, MessageClass};

use super::answer;
use super::drops::DropReason;
use super::listen::{Listen, LocalPort, is_host};

/// PADDING (RFC 5780 §7.6): what a client may lengthen its request with.
const PADDING: AttributeType = AttributeType::new(0x0026);

/// Attributes that must be understood and that ask nothing of a server without accounts (RFC 8489 §9).
const UNDERSTOOD: [AttributeType; 9] = [
    ChangeRequest::TYPE,
    PADDING,
    Username::TYPE,
    Userhash::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    PasswordAlgorithm::TYPE,
    MessageIntegrity::TYPE,
    MessageIntegritySha256::TYPE,
];

/// Where a datagram came from and where it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The sender, as the socket reports it.
    pub from: SocketAddr,
    /// The socket it arrived on.
    pub on: LocalPort,
    /// The address it was sent to, when the socket tells; a socket on 0.0.0.0 serves many.
    pub to: Option<IpAddr>,
}

/// What to do about a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send `bytes` to where the datagram came from, out of the socket `send_from`.
    Reply { bytes: Vec<u8>, send_from: LocalPort },
    /// Send nothing.
    Drop(DropReason),
}

/// Answers binding requests. Stateless: nothing a client sends changes what another one gets.
#[derive(Debug, Clone)]
pub struct Responder {
    listen: Listen,
}

impl Responder {
    /// A responder for the sockets of `listen`.
    pub fn new(listen: Listen) -> Self {
        Self { listen }
    }

    /// The sockets it answers for.
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// Judges one datagram. The answer is never longer than the datagram.
    pub fn handle(&self, datagram: &[u8], received: Received) -> Verdict {
        match self.answer(datagram, received) {
            Ok((bytes, send_from)) => Verdict::Reply { bytes, send_from },
            Err(reason) => Verdict::Drop(reason),
        }
    }

    fn answer(&self, datagram: &[u8], received: Received) -> Result<(Vec<u8>, LocalPort), DropReason> {
        let Received { from, on, to } = received;
        if from.port() == 0 || !is_host(from.ip()) {
            return Err(DropReason::Unanswerable);
        }
        if self.is_own(from, to) {
            return Err(DropReason::OwnAddress);
        }
        let request = stun::read(datagram).map_err(|_| DropReason::Malformed)?;
        if !request.has_class(MessageClass::Request) || !request.has_method(BINDING) {
            return Err(DropReason::NotARequest);
        }
        let room = datagram.len();
        let refuse = |unknown: &[AttributeType]| answer::unknown_attributes(&request, room, unknown);
        let unknown = not_understood(&request);
        if !unknown.is_empty() {
            return Ok((refuse(&unknown).ok_or(DropReason::NoRoom)?, on));
        }
        let change = change_request(&request)?;
        let Some(send_from) = self.send_from(on, change) else {
            // RFC 5780 §6.1: a server without an alternate address does not know the attribute.
            return Ok((refuse(&[ChangeRequest::TYPE]).ok_or(DropReason::NoRoom)?, on));
        };
        let origin = self.address_of(send_from, to);
        let other = self.other_address(on);
        let bytes = answer::success(&request, room, from, origin, other).ok_or(DropReason::NoRoom)?;
        Ok((bytes, send_from))
    }

    /// Whether `from` is one of the server's own sockets, which a forged source would turn on itself.
    fn is_own(&self, from: SocketAddr, to: Option<IpAddr>) -> bool {
        let address = from.ip().to_canonical();
        self.listen.ports().contains(&from.port())
            && (self.listen.addresses().contains(&address)
                || to == Some(address)
                || address.is_loopback() && self.is_any())
    }

    fn is_any(&self) -> bool {
        self.listen.addresses().iter().any(IpAddr::is_unspecified)
    }

    fn send_from(&self, on: LocalPort, change: ChangeRequest) -> Option<LocalPort> {
        let address = if change.address {
            self.listen.alternate(on.address)?
        } else {
            on.address
        };
        let port = if change.port { 1 - on.port.min(1) } else { on.port };
        Some(LocalPort { address, port })
    }

    /// What a client would see as the source, when that is known.
    fn address_of(&self, local: LocalPort, to: Option<IpAddr>) -> Option<SocketAddr> {
        let bound = self.listen.socket_address(local)?;
        if bound.ip().is_unspecified() {
            Some(SocketAddr::new(to?, bound.port()))
        } else {
            Some(bound)
        }
    }

    fn other_address(&self, on: LocalPort) -> Option<SocketAddr> {
        let both = ChangeRequest {
            address: true,
            port: true,
        };
        self.listen.socket_address(self.send_from(on, both)?)
    }
}

fn not_understood(request: &Message<'_>) -> Vec<AttributeType> {
    let types = request
        .iter_attributes()
        .map(|(_, attribute)| attribute.header.get_type());
    types
        .filter(|attribute| attribute.comprehension_required() && !UNDERSTOOD.contains(attribute))
        .collect()
}

fn change_request(request: &Message<'_>) -> Result<ChangeRequest, DropReason> {
    if request.has_attribute(ChangeRequest::TYPE) {
        request.attribute().map_err(|_| DropReason::Malformed)
    } else {
        Ok(ChangeRequest::default())
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::wire::stun::{OtherAddress, REQUEST_LEN, ResponseOrigin};
    use proptest::prelude::*;
    use stun_types::attribute::{ErrorCode, RawAttribute, UnknownAttributes, XorMappedAddress};
    use stun_types::message::{MessageType, MessageWriteVec};
    use stun_types::prelude::*;

    use super::*;

    const CLIENT: &str = "198.51.100.7:51234";

    fn responder(addresses: &[&str]) -> Responder {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Responder::new(Listen::new(addresses, [3478, 3479]).unwrap())
    }

    fn two_addresses() -> Responder {
        responder(&["203.0.113.10", "203.0.113.11"])
    }

    fn received() -> Received {
        Received {
            from: CLIENT.parse().unwrap(),
            on: LocalPort { address: 0, port: 0 },
            to: Some("203.0.113.10".parse().unwrap()),
        }
    }

    fn message(class: MessageClass, attributes: &[RawAttribute<'_>]) -> Vec<u8> {
        let kind = MessageType::from_class_method(class, BINDING);
        let mut message = Message::builder(kind, 99.into(), MessageWriteVec::new());
        for attribute in attributes {
            message.add_attribute(attribute).unwrap();
        }
        message.finish()
    }

    /// A request of exactly `length` bytes.
    fn padded(attributes: &[RawAttribute<'_>], length: usize) -> Vec<u8> {
        let zeros = vec![0; length - message(MessageClass::Request, attributes).len() - 4];
        let padding = RawAttribute::new(PADDING, &zeros);
        let all: Vec<_> = attributes.iter().cloned().chain([padding]).collect();
        message(MessageClass::Request, &all)
    }

    fn change(address: bool, port: bool) -> Vec<u8> {
        padded(&[ChangeRequest { address, port }.to_raw()], REQUEST_LEN)
    }

    fn reply(verdict: Verdict) -> (Vec<u8>, LocalPort) {
        match verdict {
            Verdict::Reply { bytes, send_from } => (bytes, send_from),
            Verdict::Drop(reason) => panic!("dropped: {reason:?}"),
        }
    }

    #[test]
    fn a_client_learns_its_address_and_the_servers() {
        let (bytes, send_from) = reply(two_addresses().handle(&padded(&[], REQUEST_LEN), received()));
        let answer = stun::read(&bytes).unwrap();
        assert!(answer.has_class(MessageClass::Success));
        assert_eq!(answer.transaction_id(), 99.into());
        let mapped = answer.attribute::<XorMappedAddress>().unwrap();
        assert_eq!(mapped.addr(99.into()), CLIENT.parse().unwrap());
        let origin = answer.attribute::<ResponseOrigin>().unwrap().address();
        assert_eq!(origin, "203.0.113.10:3478".parse().unwrap());
        let other = answer.attribute::<OtherAddress>().unwrap().address();
        assert_eq!(other, "203.0.113.11:3479".parse().unwrap());
        assert_eq!(send_from, received().on);
    }

    #[test]
    fn the_answer_comes_from_where_the_client_asks() {
        for (address, port) in [(false, true), (true, false), (true, true)] {
            let (_, send_from) = reply(two_addresses().handle(&change(address, port), received()));
            let expected = LocalPort {
                address: address.into(),
                port: port.into(),
            };
            assert_eq!(send_from, expected);
        }
    }

    #[test]
    fn without_a_second_address_only_the_port_can_change() {
        let any = responder(&["0.0.0.0", "::"]);
        let (_, send_from) = reply(any.handle(&change(false, true), received()));
        assert_eq!(send_from, LocalPort { address: 0, port: 1 });
        let (bytes, send_from) = reply(any.handle(&change(true, true), received()));
        assert_eq!(send_from, received().on);
        let answer = stun::read(&bytes).unwrap();
        assert_eq!(answer.attribute::<ErrorCode>().unwrap().code(), 420);
        assert!(
            answer
                .attribute::<UnknownAttributes>()
                .unwrap()
                .has_attribute(ChangeRequest::TYPE)
        );
        let (bytes, _) = reply(any.handle(&padded(&[], REQUEST_LEN), received()));
        let answer = stun::read(&bytes).unwrap();
        let origin = answer.attribute::<ResponseOrigin>().unwrap().address();
        assert_eq!(origin, "203.0.113.10:3478".parse().unwrap());
        assert!(!answer.has_attribute(OtherAddress::TYPE));
    }

    #[test]
    fn an_answer_shrinks_with_its_request() {
        let responder = two_addresses();
        let bare = message(MessageClass::Request, &[]);
        assert_eq!(responder.handle(&bare, received()), Verdict::Drop(DropReason::NoRoom));
        for length in (24..REQUEST_LEN).step_by(4) {
            match responder.handle(&padded(&[], length), received()) {
                Verdict::Reply { bytes, .. } => assert!(length >= 32 && bytes.len() <= length),
                Verdict::Drop(reason) => assert!(length < 32 && reason == DropReason::NoRoom),
            }
        }
    }

    #[test]
    fn an_ipv6_answer_has_room_for_everything() {
        let responder = responder(&["2001:db8::1", "2001:db8::2"]);
        let received = Received {
            from: "[2001:db8::9]:5000".parse().unwrap(),
            to: None,
            ..received()
        };
        let (bytes, _) = reply(responder.handle(&padded(&[], REQUEST_LEN), received));
        assert!(stun::read(&bytes).unwrap().has_attribute(ResponseOrigin::TYPE));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let strange = RawAttribute::new(AttributeType::new(0x7ffe), &[]);
        let optional = RawAttribute::new(AttributeType::new(0xfffe), &[]);
        let (bytes, _) = reply(two_addresses().handle(&padded(&[strange, optional.clone()], 60), received()));
        let answer = stun::read(&bytes).unwrap();
        assert!(answer.has_class(MessageClass::Error));
        assert!(
            answer
                .attribute::<UnknownAttributes>()
                .unwrap()
                .has_attribute(AttributeType::new(0x7ffe))
        );
        let (bytes, _) = reply(two_addresses().handle(&padded(&[optional], 60), received()));
        assert!(stun::read(&bytes).unwrap().has_class(MessageClass::Success));
    }

    #[test]
    fn forged_and_foreign_datagrams_get_nothing() {
        let responder = two_addresses();
        let request = padded(&[], REQUEST_LEN);
        let from = |from: &str| Received {
            from: from.parse().unwrap(),
            ..received()
        };
        for (datagram, received, reason) in [
            (&request, from("198.51.100.7:0"), DropReason::Unanswerable),
            (&request, from("255.255.255.255:9"), DropReason::Unanswerable),
            (&request, from("224.0.0.1:9"), DropReason::Unanswerable),
            (&request, from("203.0.113.11:3478"), DropReason::OwnAddress),
            (&request, from("[::ffff:203.0.113.10]:3479"), DropReason::OwnAddress),
            (&vec![0; 60], from(CLIENT), DropReason::Malformed),
            (
                &message(MessageClass::Indication, &[]),
                from(CLIENT),
                DropReason::NotARequest,
            ),
            (
                &message(MessageClass::Success, &[]),
                from(CLIENT),
                DropReason::NotARequest,
            ),
        ] {
            assert_eq!(responder.handle(datagram, received), Verdict::Drop(reason));
        }
    }

    fn any_received() -> impl Strategy<Value = Received> {
        (any::<SocketAddr>(), 0..4usize, 0..2usize, any::<Option<IpAddr>>()).prop_map(|(from, address, port, to)| {
            Received {
                from,
                on: LocalPort { address, port },
                to,
            }
        })
    }

    fn any_attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
        let kind = prop_oneof![
            Just(0x0003),
            Just(0x0026),
            Just(0x8022),
            Just(0x8028),
            Just(0x0008),
            any::<u16>()
        ];
        proptest::collection::vec((kind, proptest::collection::vec(any::<u8>(), 0..40)), 0..6)
    }

    proptest! {
        #[test]
        fn an_answer_is_never_longer_than_any_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), received in any_received(),
        ) {
            for responder in [two_addresses(), responder(&["0.0.0.0", "::"]), responder(&["::1", "::2", "1.1.1.1", "2.2.2.2"])] {
                if let Verdict::Reply { bytes: answer, .. } = responder.handle(&bytes, received) {
                    prop_assert!(answer.len() <= bytes.len());
                }
            }
        }

        #[test]
        fn an_answer_is_never_longer_than_its_request(attributes in any_attributes(), received in any_received()) {
            let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99];
            for (kind, value) in attributes {
                request.extend(kind.to_be_bytes());
                request.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
                request.extend(&value);
                request.resize(request.len().next_multiple_of(4), 0);
            }
            let length = u16::try_from(request.len() - 20).unwrap().to_be_bytes();
            request[2..4].copy_from_slice(&length);
            for responder in [two_addresses(), responder(&["0.0.0.0", "::"])] {
                if let Verdict::Reply { bytes: answer, .. } = responder.handle(&request, received) {
                    prop_assert!(answer.len() <= request.len());
                }
            }
        }
    }
}
