//! ICMP echo through the tunnel (RFC 792, RFC 4443 §4), made and recognised by the agent itself so that `ping` needs
//! neither privileges nor a tool of the operating system. The peer's operating system answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;

use super::checksum;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Echo packets are small; a larger packet is never looked at.
const MAX_LENGTH: usize = 128;
const HOPS: u8 = 64;
const BODY: [u8; 16] = *b"lanrage ping ...";

/// An echo request from this member to a peer; both addresses of one family.
pub fn request(from: IpAddr, to: IpAddr, id: u16, sequence: u16) -> Option<BytesMut> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Some(request_v4(from, to, id, sequence)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Some(request_v6(from, to, id, sequence)),
        _ => None,
    }
}

/// The sequence number of an echo reply to one of our requests.
pub fn reply_sequence(packet: &[u8], id: u16) -> Option<u16> {
    if packet.len() > MAX_LENGTH {
        return None;
    }
    match packet.first()? >> 4 {
        4 if *packet.get(9)? == ICMP => answer(packet.get(usize::from(packet[0] & 0xf) * 4..)?, false, id),
        6 if *packet.get(6)? == ICMPV6 => answer(packet.get(40..)?, true, id),
        _ => None,
    }
}

/// An echo request without an IP header, for a socket that makes its own.
pub fn message(is_v6: bool, id: u16, sequence: u16) -> Vec<u8> {
    let mut message = echo_message(if is_v6 { 128 } else { 8 }, id, sequence);
    if !is_v6 {
        // That of IPv6 covers addresses; the system computes it.
        let sum = checksum(&[&message]).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// The sequence number of such an answer.
pub fn answer(message: &[u8], is_v6: bool, id: u16) -> Option<u16> {
    match (is_v6, message) {
        (false, [0, 0, _, _, id_high, id_low, high, low, ..])
        | (true, [129, 0, _, _, id_high, id_low, high, low, ..]) => {
            (u16::from_be_bytes([*id_high, *id_low]) == id).then(|| u16::from_be_bytes([*high, *low]))
        }
        _ => None,
    }
}

fn echo_message(kind: u8, id: u16, sequence: u16) -> Vec<u8> {
    [
        &[kind, 0, 0, 0],
        id.to_be_bytes().as_slice(),
        &sequence.to_be_bytes(),
        &BODY,
    ]
    .concat()
}

fn request_v4(from: Ipv4Addr, to: Ipv4Addr, id: u16, sequence: u16) -> BytesMut {
    let message = message(false, id, sequence);
    let length = (20 + message.len() as u16).to_be_bytes();
    let mut header = [
        &[0x45, 0],
        length.as_slice(),
        &[0, 0, 0x40, 0, HOPS, ICMP, 0, 0],
        &from.octets(),
        &to.octets(),
    ]
    .concat();
    let sum = checksum(&[&header]).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    header.iter().chain(&message).copied().collect()
}

fn request_v6(from: Ipv6Addr, to: Ipv6Addr, id: u16, sequence: u16) -> BytesMut {
    let mut message = echo_message(128, id, sequence);
    let length = (message.len() as u16).to_be_bytes();
    let pseudo = [
        from.octets().as_slice(),
        &to.octets(),
        &[0, 0],
        &length,
        &[0, 0, 0, ICMPV6],
    ]
    .concat();
    let sum = checksum(&[&pseudo, &message]).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let header = [
        &[0x60, 0, 0, 0],
        length.as_slice(),
        &[ICMPV6, HOPS],
        &from.octets(),
        &to.octets(),
    ]
    .concat();
    header.iter().chain(&message).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a peer's operating system makes of a request.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        if request[0] >> 4 == 4 {
            reply[20] = 0;
        } else {
            reply[40] = 129;
        }
        reply
    }

    #[test]
    fn a_reply_is_recognised_by_its_id() {
        for (from, to) in [("10.64.0.1", "10.64.0.2"), ("fd00::1", "fd00::2")] {
            let packet = request(from.parse().unwrap(), to.parse().unwrap(), 7, 99).unwrap();
            assert_eq!(reply_sequence(&packet, 7), None, "a request is not a reply");
            assert_eq!(reply_sequence(&reply(&packet), 7), Some(99));
            assert_eq!(reply_sequence(&reply(&packet), 8), None);
        }
        assert!(request("10.64.0.1".parse().unwrap(), "fd00::1".parse().unwrap(), 0, 0).is_none());
    }

    #[test]
    fn checksums_verify() {
        let packet = request_v4(Ipv4Addr::new(10, 64, 0, 1), Ipv4Addr::new(10, 64, 0, 2), 1, 2);
        assert_eq!(checksum(&[&packet[..20]]), 0);
        assert_eq!(checksum(&[&packet[20..]]), 0);
    }

    proptest! {
        #[test]
        fn any_packet_is_looked_at_safely(packet in proptest::collection::vec(any::<u8>(), 0..200), id: u16) {
            let _ = reply_sequence(&packet, id);
        }
    }
}
