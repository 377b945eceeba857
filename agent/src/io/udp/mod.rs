//! The agent's UDP port: one number, one socket per address family.
//!
//! Everything LANrage sends over the internet (WireGuard, probes, STUN) leaves from this one port, because a NAT's mapping
//! belongs to the port; only the test of the NAT's filter and guessing a NAT's ports have sockets of their own. Both directions move batches: a train of equal datagrams to one peer is one system call (GSO),
//! and what the kernel coalesced is split again on the way in (GRO). Sockets are used from blocking threads, without a
//! runtime between TUN and wire.

mod receive;
mod send;
mod side;
mod side_paths;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, warn};

pub use receive::UdpReceiver;
pub use send::{SendDrop, UdpSender};
pub use side::SideSockets;
pub use side_paths::{SidePaths, SideSenders};

use crate::platform::prepare_udp_socket;

/// How often a free port is drawn before giving up: on a busy PC the port that is free for IPv4 may be taken for IPv6.
const FREE_PORT_TRIES: usize = 32;

/// Why the port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("UDP port {0} is taken by another program; choose another with --port, or leave it out to get a free one")]
    PortTaken(u16),
    #[error("cannot open a UDP port: {0}")]
    Other(#[from] io::Error),
}

/// A bound port, before its directions are handed to their threads.
#[derive(Debug)]
pub struct UdpPort {
    v4: Arc<Half>,
    v6: Option<Arc<Half>>,
    port: u16,
}

impl UdpPort {
    /// Opens `port`, or a free one, for IPv4 and, where this PC has it, for IPv6.
    pub fn bind(port: Option<u16>) -> Result<Self, BindError> {
        match port.filter(|&port| port != 0) {
            Some(port) => Self::bind_both(port).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => BindError::PortTaken(port),
                _ => BindError::Other(error),
            }),
            None => {
                let mut last = io::Error::from(io::ErrorKind::AddrInUse);
                for _ in 0..FREE_PORT_TRIES {
                    match Self::bind_both(0) {
                        Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                        other => return Ok(other?),
                    }
                }
                Err(BindError::Other(last))
            }
        }
    }

    fn bind_both(port: u16) -> io::Result<Self> {
        let v4 = Half::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        let port = v4.socket.local_addr()?.port();
        let v6 = match Half::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(half) => Some(Arc::new(half)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                debug!(%error, "no IPv6 on this PC");
                None
            }
        };
        Ok(Self {
            v4: Arc::new(v4),
            v6,
            port,
        })
    }

    /// The port's number, the same for both families.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the port is open for IPv6 too.
    pub fn has_ipv6(&self) -> bool {
        self.v6.is_some()
    }

    /// The two directions: one sender for any number of threads, one receiver per family for a blocking thread each.
    pub fn split(self) -> (Arc<UdpSender>, Vec<UdpReceiver>) {
        let receivers = [Some(&self.v4), self.v6.as_ref()]
            .into_iter()
            .flatten()
            .map(|half| UdpReceiver::new(half.clone()))
            .collect();
        (Arc::new(UdpSender::new(self.v4, self.v6)), receivers)
    }
}

/// One family's socket.
#[derive(Debug)]
struct Half {
    socket: UdpSocket,
    /// None where the system lacks the calls for batches (Wine): then datagrams go one by one.
    batches: Option<UdpSocketState>,
    closed: AtomicBool,
    /// What is sent is marked with a DSCP.
    marked: AtomicBool,
}

impl Half {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        let batches = match UdpSocketState::new((&socket).into()) {
            Ok(state) => Some(state),
            Err(error) => {
                warn!(%error, "this system cannot send and receive UDP in batches; the tunnel will be slower");
                None
            }
        };
        prepare_udp_socket(&socket, address.is_ipv6())?;
        Ok(Self {
            socket: socket.into(),
            batches,
            closed: AtomicBool::new(false),
            marked: AtomicBool::new(false),
        })
    }

    /// Ends the receiver: its next batch, or the one it waits for, is an error.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Ok(local) = self.socket.local_addr() {
            // A datagram to ourselves wakes the thread that waits. When it cannot be sent, the next arrival does.
            let to = match local {
                SocketAddr::V4(v4) => SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port())),
                SocketAddr::V6(v6) => SocketAddr::from((Ipv6Addr::LOCALHOST, v6.port())),
            };
            let _ = self.socket.send_to(&[], to);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use lanrage_agent_core::batch::Datagram;

    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    fn datagram(peer: SocketAddr, data: &[u8]) -> Datagram {
        Datagram {
            peer,
            data: BytesMut::from(data),
        }
    }

    fn receive(receiver: &mut UdpReceiver, count: usize) -> Vec<Datagram> {
        let mut heard = Vec::new();
        while heard.len() < count {
            receiver.recv_batch(&mut heard).unwrap();
        }
        heard
    }

    #[test]
    fn both_families_share_the_number_of_a_free_port() {
        let port = UdpPort::bind(None).unwrap();
        assert_ne!(port.port(), 0);
        if port.has_ipv6() {
            let v6 = port.v6.as_ref().unwrap().socket.local_addr().unwrap();
            assert_eq!(v6.port(), port.port());
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = UdpPort::bind(None).unwrap();
        let second = UdpPort::bind(Some(first.port()));
        assert!(matches!(second, Err(BindError::PortTaken(port)) if port == first.port()));
    }

    #[test]
    fn a_port_taken_for_ipv6_alone_is_taken() {
        let Ok(other) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return;
        };
        let port = other.local_addr().unwrap().port();
        match UdpPort::bind(Some(port)) {
            Err(BindError::PortTaken(taken)) => assert_eq!(taken, port),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn trains_of_every_shape_arrive_whole_and_in_order() {
        let (receiver_port, sender_port) = (UdpPort::bind(None).unwrap(), UdpPort::bind(None).unwrap());
        let (to, from) = (loopback(receiver_port.port()), loopback(sender_port.port()));
        let (_, mut receivers) = receiver_port.split();
        let (sender, _) = sender_port.split();

        // Equal lengths, a shorter last one, a longer one after it, an empty one, and more than one train can hold.
        let lengths = [1300, 1300, 1300, 700, 1400, 0, 5]
            .into_iter()
            .chain(std::iter::repeat_n(1200, 150))
            .chain([1, 1]);
        let sent: Vec<Datagram> = lengths
            .enumerate()
            .map(|(index, length)| datagram(to, &vec![index as u8; length]))
            .collect();
        let mut batch = sent.clone();
        sender.send_batch(&mut batch);
        assert!(batch.is_empty());

        let heard = receive(&mut receivers[0], sent.len());
        assert_eq!(heard.len(), sent.len());
        for (heard, sent) in heard.iter().zip(&sent) {
            assert_eq!(heard.peer, from);
            assert_eq!(heard.data, sent.data);
        }
        assert_eq!(sender.sent(), sent.len() as u64);
    }

    #[test]
    fn ipv6_datagrams_name_their_sender_without_scope() {
        let (receiver_port, sender_port) = (UdpPort::bind(None).unwrap(), UdpPort::bind(None).unwrap());
        if !receiver_port.has_ipv6() {
            return;
        }
        let to = SocketAddr::from((Ipv6Addr::LOCALHOST, receiver_port.port()));
        let from = SocketAddr::from((Ipv6Addr::LOCALHOST, sender_port.port()));
        let (_, mut receivers) = receiver_port.split();
        let (sender, _) = sender_port.split();
        sender.send_one(to, b"hello").unwrap();
        assert_eq!(receive(&mut receivers[1], 1), [datagram(from, b"hello")]);
    }

    #[test]
    fn an_unreachable_peer_costs_the_others_nothing() {
        let (receiver_port, sender_port) = (UdpPort::bind(None).unwrap(), UdpPort::bind(None).unwrap());
        let to = loopback(receiver_port.port());
        let (_, mut receivers) = receiver_port.split();
        let (sender, mut own) = sender_port.split();
        let closed = {
            let gone = UdpSocket::bind(loopback(0)).unwrap();
            gone.local_addr().unwrap()
        };
        let mut batch = vec![
            datagram(closed, b"a"),
            datagram(SocketAddr::from(([0, 0, 0, 0], 0)), b"b"),
            datagram(to, b"c"),
            datagram(closed, b"d"),
            datagram(to, b"e"),
        ];
        sender.send_batch(&mut batch);
        assert_eq!(receive(&mut receivers[0], 2), {
            let from = loopback(own[0].port());
            [datagram(from, b"c"), datagram(from, b"e")]
        });
        // The refusals of the closed port do not disturb the sender's own receiver.
        sender.send_one(loopback(own[0].port()), b"f").unwrap();
        assert_eq!(receive(&mut own[0], 1)[0].data, b"f".as_slice());
    }

    #[test]
    fn closing_wakes_the_threads_that_wait() {
        let (sender, receivers) = UdpPort::bind(None).unwrap().split();
        let threads: Vec<_> = receivers
            .into_iter()
            .map(|mut receiver| std::thread::spawn(move || receiver.recv_batch(&mut Vec::new())))
            .collect();
        sender.close();
        for thread in threads {
            assert_eq!(
                thread.join().unwrap().unwrap_err().kind(),
                io::ErrorKind::ConnectionAborted
            );
        }
    }
}
