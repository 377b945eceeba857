//! Packets of our own.

use std::net::IpAddr;

use bytes::BytesMut;

use super::{Header, UDP, fill_checksums};

/// How many routers may pass on what this PC sends.
const HOPS: u8 = 64;
/// IPv4's "do not fragment".
const WHOLE: u8 = 0x40;

/// A UDP datagram in one packet; both addresses of one family, else none.
pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Option<BytesMut> {
    let length = u16::try_from(8 + payload.len()).ok()?;
    let mut packet = BytesMut::new();
    match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = length.checked_add(20)?.to_be_bytes();
            packet.extend_from_slice(&[0x45, 0, total[0], total[1], 0, 0, WHOLE, 0, HOPS, UDP, 0, 0]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let total = length.to_be_bytes();
            packet.extend_from_slice(&[0x60, 0, 0, 0, total[0], total[1], UDP, HOPS]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
        }
        _ => return None,
    }
    for word in [from.1, to.1, length, 0] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    let header = Header::read(&packet)?;
    fill_checksums(&mut packet, &header);
    Some(packet)
}
