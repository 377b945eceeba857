//! IP packets (RFC 791, RFC 8200) as the agent reads and changes them: addresses, ports, fragments.
//!
//! An address is changed where it stands, and the checksums that cover it are corrected by the difference (RFC 1624), so that
//! this works for fragments too, of which only the first has the transport's checksum.

mod build;
mod checksum;
mod cut;
pub mod echo;
mod rewrite;

pub use build::udp;
pub use checksum::checksum;
pub use cut::cut;
pub use rewrite::{End, fill_checksums, set_address, set_hop_limit};

use std::net::IpAddr;

/// Protocol numbers (IANA).
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
/// Bytes of an IPv4 header without options, of an IPv6 header, and of an IPv6 fragment header.
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;

/// What an IP packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Of what follows, behind an IPv6 fragment header.
    pub protocol: u8,
    /// Where that begins, in bytes.
    pub transport: usize,
    /// Bytes of the whole packet; what follows is padding.
    pub length: usize,
    pub fragment: Option<Fragment>,
}

/// Which part of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    /// Where in the datagram it begins, in units of 8 bytes.
    pub offset: u16,
    /// Others follow.
    pub more: bool,
}

impl Header {
    /// Reads a packet that has its header and as many bytes as that says. IPv6 extension headers other than that of fragments are
    /// left for the protocol.
    pub fn read(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::read_v4(packet),
            6 => Self::read_v6(packet),
            _ => None,
        }
    }

    fn read_v4(packet: &[u8]) -> Option<Self> {
        let transport = usize::from(packet[0] & 0xf) * 4;
        let length = usize::from(word(packet, 2)?);
        if transport < V4_HEADER || length < transport || packet.len() < length {
            return None;
        }
        let flags = word(packet, 6)?;
        let (more, offset) = (flags & 0x2000 != 0, flags & 0x1fff);
        Some(Self {
            source: IpAddr::from(array::<4>(packet, 12)?),
            destination: IpAddr::from(array::<4>(packet, 16)?),
            protocol: packet[9],
            transport,
            length,
            fragment: (more || offset > 0).then_some(Fragment {
                id: u32::from(word(packet, 4)?),
                offset,
                more,
            }),
        })
    }

    fn read_v6(packet: &[u8]) -> Option<Self> {
        let length = V6_HEADER + usize::from(word(packet, 4)?);
        if packet.len() < length {
            return None;
        }
        let mut header = Self {
            source: IpAddr::from(array::<16>(packet, 8)?),
            destination: IpAddr::from(array::<16>(packet, 24)?),
            protocol: packet[6],
            transport: V6_HEADER,
            length,
            fragment: None,
        };
        if header.protocol == FRAGMENT {
            if length < V6_HEADER + FRAGMENT_HEADER {
                return None;
            }
            let flags = word(packet, V6_HEADER + 2)?;
            header.protocol = packet[V6_HEADER];
            header.transport += FRAGMENT_HEADER;
            header.fragment = Some(Fragment {
                id: u32::from_be_bytes(array(packet, V6_HEADER + 4)?),
                offset: flags >> 3,
                more: flags & 1 != 0,
            });
        }
        Some(header)
    }

    /// Whether the transport's header is in this packet, and not in one before.
    pub fn is_first(&self) -> bool {
        self.fragment.is_none_or(|fragment| fragment.offset == 0)
    }

    /// Source and destination port, of UDP and TCP.
    pub fn ports(&self, packet: &[u8]) -> Option<(u16, u16)> {
        let needed = match self.protocol {
            UDP => 8,
            TCP => 20,
            _ => return None,
        };
        if !self.is_first() || self.length < self.transport + needed {
            return None;
        }
        Some((word(packet, self.transport)?, word(packet, self.transport + 2)?))
    }

    /// What the transport carries, as far as this packet has it, with the transport's header if that is in it.
    pub fn body<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.transport..self.length).unwrap_or_default()
    }
}

/// Whether a TCP segment asks for a connection (RFC 9293 §3.5: SYN without ACK).
pub fn begins_tcp(packet: &[u8], header: &Header) -> bool {
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let flags = packet.get(header.transport + 13);
    header.protocol == TCP && header.is_first() && flags.is_some_and(|flags| flags & (SYN | ACK) == SYN)
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    array(packet, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
