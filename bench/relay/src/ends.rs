//! The two ends of a pair, whatever is between them.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use lanrage_relay_client::{Event, RelayEvents, RelaySender, transport};
use lanrage_shared::ids::MemberId;

/// Bytes at the start of every payload: when it was sent, in microseconds of the load's clock.
pub const STAMP_LEN: usize = 8;
/// Longest datagram an end takes.
const LONGEST: usize = 4096;

/// Sends payloads with the time in them.
pub struct Sender {
    link: Out,
    packet: Vec<u8>,
    /// Where in the packet the payload begins.
    payload: usize,
}

enum Out {
    Relay {
        sender: RelaySender,
        to: MemberId,
        /// Dropping it would end the session.
        _events: RelayEvents,
    },
    Quic(quinn::Connection),
    Udp(UdpSocket),
}

/// Takes payloads.
pub enum Receiver {
    Relay {
        events: RelayEvents,
        /// Keeps the session as it was opened.
        _sender: RelaySender,
    },
    Quic(quinn::Connection),
    Udp {
        socket: tokio::net::UdpSocket,
        buffer: Box<[u8; LONGEST]>,
    },
}

impl Sender {
    pub fn relay(sender: RelaySender, events: RelayEvents, to: MemberId, size: u16) -> Self {
        let link = Out::Relay {
            sender,
            to,
            _events: events,
        };
        Self::new(link, &[], size)
    }

    pub fn quic(connection: quinn::Connection, size: u16) -> Self {
        Self::new(Out::Quic(connection), &[], size)
    }

    /// Sends to where `socket` is connected, `header` before every payload.
    pub fn udp(socket: UdpSocket, header: &[u8], size: u16) -> Self {
        Self::new(Out::Udp(socket), header, size)
    }

    fn new(link: Out, header: &[u8], size: u16) -> Self {
        let mut packet = header.to_vec();
        packet.resize(header.len() + usize::from(size), 0x5a);
        Self {
            link,
            packet,
            payload: header.len(),
        }
    }

    /// Sends one payload. What finds no room is lost, and shows as that.
    pub fn send(&mut self, now_us: u64) {
        let payload = self.payload;
        self.packet[payload..payload + STAMP_LEN].copy_from_slice(&now_us.to_be_bytes());
        match &self.link {
            Out::Relay { sender, to, .. } => drop(sender.send(*to, &self.packet)),
            Out::Quic(connection) => drop(connection.send_datagram(self.packet.clone().into())),
            Out::Udp(socket) => drop(socket.send(&self.packet)),
        }
    }
}

impl Receiver {
    pub fn relay(events: RelayEvents, sender: RelaySender) -> Self {
        Self::Relay {
            events,
            _sender: sender,
        }
    }

    pub fn udp(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self::Udp {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            buffer: Box::new([0; LONGEST]),
        })
    }

    /// When the next payload was sent, in microseconds; none once nothing more can come.
    pub async fn next(&mut self) -> Option<u64> {
        loop {
            let stamp = match self {
                Self::Relay { events, .. } => match events.next().await {
                    Event::Packet { payload, .. } => payload.first_chunk().copied(),
                    Event::Ended(_) | Event::Lost(_) => return None,
                    Event::Undelivered { .. } | Event::Welcome { .. } | Event::Drain { .. } => None,
                },
                Self::Quic(connection) => connection.read_datagram().await.ok()?.first_chunk().copied(),
                Self::Udp { socket, buffer } => {
                    let length = socket.recv(&mut buffer[..]).await.ok()?;
                    buffer[..length].first_chunk().copied()
                }
            };
            if let Some(stamp) = stamp {
                return Some(u64::from_be_bytes(stamp));
            }
        }
    }
}

/// A UDP socket on a free port of loopback, with the buffers agents and relays have.
pub fn udp_socket() -> io::Result<UdpSocket> {
    transport::bind_udp((Ipv4Addr::LOCALHOST, 0).into(), false)
}
