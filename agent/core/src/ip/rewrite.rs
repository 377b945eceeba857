//! Changes in a packet where it stands.

use std::net::IpAddr;

use super::checksum::{checksum, corrected};
use super::{Header, TCP, UDP};

/// Which of a packet's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

/// Puts another address in, of the packet's family, and corrects the checksums. Gives false, and changes nothing, for one of the
/// other family.
pub fn set_address(packet: &mut [u8], header: &mut Header, end: End, to: IpAddr) -> bool {
    let before = match end {
        End::Source => header.source,
        End::Destination => header.destination,
    };
    let at = match (before, to, end) {
        (IpAddr::V4(_), IpAddr::V4(_), End::Source) => 12,
        (IpAddr::V4(_), IpAddr::V4(_), End::Destination) => 16,
        (IpAddr::V6(_), IpAddr::V6(_), End::Source) => 8,
        (IpAddr::V6(_), IpAddr::V6(_), End::Destination) => 24,
        _ => return false,
    };
    let (old, new) = (Octets::of(before), Octets::of(to));
    let (old, new) = (old.bytes(), new.bytes());
    packet[at..at + new.len()].copy_from_slice(new);
    if to.is_ipv4() {
        correct(packet, 10, old, new);
    }
    match (header.protocol, header.is_first()) {
        (UDP, true) if header.length >= header.transport + 8 => {
            let at = header.transport + 6;
            // Zero says that there is none (RFC 768).
            if packet[at..at + 2] != [0, 0] {
                correct(packet, at, old, new);
                if packet[at..at + 2] == [0, 0] {
                    packet[at..at + 2].fill(0xff);
                }
            }
        }
        (TCP, true) if header.length >= header.transport + 20 => correct(packet, header.transport + 16, old, new),
        _ => {}
    }
    match end {
        End::Source => header.source = to,
        End::Destination => header.destination = to,
    }
    true
}

/// How many routers may still pass it on.
pub fn set_hop_limit(packet: &mut [u8], header: &Header, hops: u8) {
    if header.source.is_ipv6() {
        packet[7] = hops;
        return;
    }
    let before = [packet[8], packet[9]];
    packet[8] = hops;
    let after = [packet[8], packet[9]];
    correct(packet, 10, &before, &after);
}

/// Computes the checksums of IPv4's header and of a whole UDP datagram: one that was overheard may have left both to the adapter.
pub fn fill_checksums(packet: &mut [u8], header: &Header) {
    if header.source.is_ipv4() {
        packet[10..12].fill(0);
        let sum = checksum(&[&packet[..header.transport]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let at = header.transport + 6;
    if header.fragment.is_some() || header.protocol != UDP || header.length < at + 2 {
        return;
    }
    packet[at..at + 2].fill(0);
    let body = &packet[header.transport..header.length];
    let length = (body.len() as u32).to_be_bytes();
    let (source, destination) = (Octets::of(header.source), Octets::of(header.destination));
    let sum = match checksum(&[source.bytes(), destination.bytes(), &[0, UDP], &length, body]) {
        0 => 0xffff,
        sum => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn correct(packet: &mut [u8], at: usize, before: &[u8], after: &[u8]) {
    let sum = u16::from_be_bytes([packet[at], packet[at + 1]]);
    packet[at..at + 2].copy_from_slice(&corrected(sum, before, after).to_be_bytes());
}

/// An address as it stands in a packet.
enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Octets {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => Self::V6(v6.octets()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }
}
