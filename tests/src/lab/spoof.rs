//! Datagrams that claim to come from somebody else.

use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::Netns;

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Sends UDP datagrams with any source address from a namespace.
#[derive(Debug)]
pub struct Spoofer {
    socket: Socket,
}

impl Spoofer {
    /// A liar in `netns`.
    pub fn new(netns: &Netns) -> Result<Self> {
        let raw = || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            socket.set_header_included_v4(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = netns.within(raw)?.context("opening a raw socket")?;
        Ok(Self { socket })
    }

    /// Sends one datagram to `to` as if it came from `from`.
    pub fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Result<()> {
        let length = u16::try_from(IP_HEADER + UDP_HEADER + payload.len())?;
        let mut packet = Vec::with_capacity(usize::from(length));
        // Version and header length; the kernel fills in the identification and the checksum (raw(7)).
        packet.extend([0x45, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(from.ip().octets());
        packet.extend(to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend((length - IP_HEADER as u16).to_be_bytes());
        // No checksum (RFC 768).
        packet.extend([0, 0]);
        packet.extend(payload);
        self.socket
            .send_to(&packet, &to.into())
            .context("sending a forged packet")?;
        Ok(())
    }
}
