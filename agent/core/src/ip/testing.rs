//! Packets for tests.

use std::net::IpAddr;

use bytes::BytesMut;

use super::{Header, UDP, checksum, fill_udp_checksum};

/// A UDP packet as an operating system makes it.
pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> BytesMut {
    let length = (8 + payload.len()) as u16;
    let mut packet = match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = (20 + length).to_be_bytes();
            let mut header = [0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, UDP, 0, 0].to_vec();
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            let sum = checksum(&[&header]).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let total = length.to_be_bytes();
            let mut header = [0x60, 0, 0, 0, total[0], total[1], UDP, 64].to_vec();
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            header
        }
        _ => panic!("two families"),
    };
    for word in [from.1, to.1, length, 0] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    let mut packet = BytesMut::from(packet.as_slice());
    let header = Header::read(&packet).unwrap();
    fill_udp_checksum(&mut packet, &header);
    packet
}

/// Whether the checksums of a whole datagram are right.
pub fn is_sound(packet: &[u8]) -> bool {
    let header = Header::read(packet).unwrap();
    let ip = header.source.is_ipv6() || checksum(&[&packet[..header.transport]]) == 0;
    let mut again = packet.to_vec();
    fill_udp_checksum(&mut again, &header);
    ip && again == packet
}

/// The datagram that fragments make.
pub fn join(pieces: &[BytesMut]) -> Vec<u8> {
    let mut parts: Vec<(u16, bool, Vec<u8>)> = pieces
        .iter()
        .map(|piece| {
            let header = Header::read(piece).unwrap();
            let part = header.fragment.unwrap();
            (part.offset, part.more, header.body(piece).to_vec())
        })
        .collect();
    parts.sort();
    let mut whole = Vec::new();
    for (number, (offset, more, body)) in parts.iter().enumerate() {
        assert_eq!(whole.len(), usize::from(*offset) * 8);
        assert_eq!(*more, number + 1 < parts.len());
        whole.extend_from_slice(body);
    }
    whole
}
