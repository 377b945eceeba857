//! Packets for tests.

use std::net::IpAddr;

use bytes::BytesMut;

use super::{Header, checksum, fill_checksums};

/// A UDP packet as an operating system makes it.
pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> BytesMut {
    super::udp(from, to, payload).unwrap()
}

/// Whether the checksums of a whole datagram are right.
pub fn is_sound(packet: &[u8]) -> bool {
    let header = Header::read(packet).unwrap();
    let ip = header.source.is_ipv6() || checksum(&[&packet[..header.transport]]) == 0;
    let mut again = packet.to_vec();
    fill_checksums(&mut again, &header);
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
