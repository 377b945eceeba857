//! The lab's own NAT probe, after RFC 5780: what the NATs in front of a host really do.
//!
//! A server with two addresses and two ports each answers "you are A:P", from whichever of its four sockets it is asked to
//! use. Deliberately none of the product's code: the lab must not prove itself with what it is there to test.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::address::{SERVER, SERVER_SECOND};
use super::home::Host;
use super::netns::Netns;

const PORTS: [u16; 2] = [9001, 9002];
const MAGIC: &[u8; 4] = b"lab?";
const REQUEST: usize = 13;
const ANSWER: usize = 18;
/// Lost in the lab means refused: nothing is slow, so a short wait tells.
const TRY_FOR: Duration = Duration::from_millis(150);
const TRIES: usize = 3;

/// How a chain of NATs maps (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    None,
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
    Blocked,
}

/// How it filters (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// What was found in front of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// TCP gets out.
    pub tcp: bool,
    pub mapping: Mapping,
    /// None when no UDP gets out.
    pub filtering: Option<Filtering>,
    /// A host that was never spoken to gets in.
    pub stranger: bool,
    /// A neighbour on the LAN reaches the host by its public address.
    pub hairpin: bool,
    /// The mapping stays endpoint-independent, and each host's own, when a neighbour uses the same source port.
    pub survives_collision: bool,
    /// The first public address seen.
    pub public: Option<SocketAddrV4>,
}

/// The answering side, on the lab's server. Dropping it stops it.
pub struct ProbeServer {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Nobody accepts: that the kernel completes the handshake is enough.
    _tcp: TcpListener,
}

impl ProbeServer {
    /// Starts answering on the four sockets.
    pub fn start(server: &Netns) -> Result<Self> {
        let bound: Vec<std::io::Result<UdpSocket>> = server.within(|| {
            let addresses = [SERVER, SERVER_SECOND];
            let pairs = addresses.into_iter().flat_map(|ip| PORTS.map(|port| (ip, port)));
            pairs.map(UdpSocket::bind).collect()
        })?;
        let sockets: Arc<[UdpSocket]> = bound
            .into_iter()
            .collect::<std::io::Result<_>>()
            .context("the probe's ports")?;
        let tcp = server
            .within(|| TcpListener::bind((SERVER, PORTS[0])))?
            .context("the probe's TCP port")?;
        let stop = Arc::new(AtomicBool::new(false));
        let answer = |own: usize| {
            let (sockets, stop) = (sockets.clone(), stop.clone());
            std::thread::spawn(move || answer(&sockets, own, &stop))
        };
        for socket in sockets.iter() {
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        }
        Ok(Self {
            threads: (0..sockets.len()).map(answer).collect(),
            stop,
            _tcp: tcp,
        })
    }
}

impl Drop for ProbeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer(sockets: &[UdpSocket], own: usize, stop: &AtomicBool) {
    let mut packet = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((REQUEST, std::net::SocketAddr::V4(from))) = sockets[own].recv_from(&mut packet) else {
            continue;
        };
        if &packet[..4] != MAGIC {
            continue;
        }
        let via = sockets.get(usize::from(packet[12])).unwrap_or(&sockets[own]);
        let mut reply = packet[..12].to_vec();
        reply.extend(from.ip().octets());
        reply.extend(from.port().to_be_bytes());
        let _ = via.send_to(&reply, from);
    }
}

/// Finds out what is in front of `host`. `neighbour` is another host of the same LAN, `stranger` a public host.
pub fn examine(host: &Host, neighbour: &Host, stranger: &Netns) -> Result<Behaviour> {
    let server = (SERVER, PORTS[0]).into();
    let tcp = host
        .netns
        .within(|| TcpStream::connect_timeout(&server, Duration::from_secs(1)).is_ok())?;
    let asker = Asker::new(&host.netns, 0)?;
    let seen: Vec<Option<SocketAddrV4>> = (0..4).map(|socket| asker.ask(socket, None)).collect();
    let mapping = mapping_of(&seen, SocketAddrV4::new(host.address, asker.port()?));
    if mapping == Mapping::Blocked {
        return Ok(Behaviour {
            tcp,
            mapping,
            filtering: None,
            stranger: false,
            hairpin: false,
            survives_collision: false,
            public: None,
        });
    }
    let fresh = Asker::new(&host.netns, 0)?;
    let other_address = fresh.ask(0, None).and_then(|_| fresh.ask(0, Some(3))).is_some();
    let fresh = Asker::new(&host.netns, 0)?;
    let other_port = fresh.ask(0, None).and_then(|_| fresh.ask(0, Some(1))).is_some();
    let filtering = match (other_address, other_port) {
        (true, _) => Filtering::EndpointIndependent,
        (false, true) => Filtering::AddressDependent,
        (false, false) => Filtering::AddressAndPortDependent,
    };
    Ok(Behaviour {
        tcp,
        mapping,
        filtering: Some(filtering),
        stranger: gets_in(host, stranger)?,
        hairpin: gets_in(host, &neighbour.netns)?,
        survives_collision: survives_collision(host, neighbour)?,
        public: seen[0],
    })
}

/// Whether `from`, never spoken to, reaches a fresh mapping of `host`.
fn gets_in(host: &Host, from: &Netns) -> Result<bool> {
    let asker = Asker::new(&host.netns, 0)?;
    let Some(public) = asker.ask(0, None) else {
        return Ok(false);
    };
    knock(from, public, &asker.socket)
}

/// Whether a datagram that `from` sends to `to` arrives at `listener`.
pub fn knock(from: &Netns, to: SocketAddrV4, listener: &UdpSocket) -> Result<bool> {
    let sender = from.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    listener.set_read_timeout(Some(TRY_FOR))?;
    let mut packet = [0; 64];
    for _ in 0..TRIES {
        sender.send_to(b"knock", to)?;
        if listener
            .recv_from(&mut packet)
            .is_ok_and(|(length, _)| &packet[..length] == b"knock")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The neighbour talks to servers from the source port `host` uses already.
fn survives_collision(host: &Host, neighbour: &Host) -> Result<bool> {
    let first = Asker::new(&host.netns, 0)?;
    let mine = first.ask(0, None);
    let second = Asker::new(&neighbour.netns, first.port()?)?;
    // A server the first has not used comes first, where a simple NAT would still give the same port.
    let theirs: Vec<Option<SocketAddrV4>> = [2, 0, 1, 3].map(|socket| second.ask(socket, None)).into();
    let stays = theirs.iter().all(|seen| *seen == theirs[0]);
    Ok(theirs[0].is_some() && stays && theirs[0] != mine && first.ask(3, None) == mine)
}

fn mapping_of(seen: &[Option<SocketAddrV4>], own: SocketAddrV4) -> Mapping {
    let &[Some(a), Some(b), Some(c), Some(d)] = seen else {
        return Mapping::Blocked;
    };
    if [b, c, d].iter().all(|other| *other == a) {
        if a == own {
            Mapping::None
        } else {
            Mapping::EndpointIndependent
        }
    } else if a == b && c == d {
        Mapping::AddressDependent
    } else {
        Mapping::AddressAndPortDependent
    }
}

/// A host's socket that asks.
struct Asker {
    socket: UdpSocket,
}

static TRANSACTION: AtomicU64 = AtomicU64::new(1);

impl Asker {
    fn new(netns: &Netns, port: u16) -> Result<Self> {
        let socket = netns.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))??;
        Ok(Self { socket })
    }

    fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Asks server socket `to` how it sees this one, to be answered from socket `via`.
    fn ask(&self, to: u8, via: Option<u8>) -> Option<SocketAddrV4> {
        let ip = if to < 2 { SERVER } else { SERVER_SECOND };
        let transaction = TRANSACTION.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut request = MAGIC.to_vec();
        request.extend(transaction);
        request.push(via.unwrap_or(u8::MAX));
        for _ in 0..TRIES {
            self.socket.send_to(&request, (ip, PORTS[usize::from(to % 2)])).ok()?;
            if let Some(seen) = self.answer(&request[..12]) {
                return Some(seen);
            }
        }
        None
    }

    fn answer(&self, expected: &[u8]) -> Option<SocketAddrV4> {
        let deadline = Instant::now() + TRY_FOR;
        let mut packet = [0; 64];
        loop {
            let left = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).ok()?;
            let (length, _) = self.socket.recv_from(&mut packet).ok()?;
            if length == ANSWER && &packet[..12] == expected {
                let ip = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
                return Some(SocketAddrV4::new(ip, u16::from_be_bytes([packet[16], packet[17]])));
            }
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Blocked => "blocked",
        })
    }
}

impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

/// Whether two hosts that learn each other's public address and send to it at the same time both hear the other: hole
/// punching without any of the product's code.
pub fn punch(a: &Host, b: &Host) -> Result<bool> {
    let askers = [Asker::new(&a.netns, 0)?, Asker::new(&b.netns, 0)?];
    let (Some(at_a), Some(at_b)) = (askers[0].ask(0, None), askers[1].ask(0, None)) else {
        return Ok(false);
    };
    let mut heard = [false; 2];
    let mut packet = [0; 64];
    for _ in 0..TRIES {
        askers[0].socket.send_to(b"punch", at_b)?;
        askers[1].socket.send_to(b"punch", at_a)?;
        for (asker, heard) in askers.iter().zip(&mut heard) {
            asker.socket.set_read_timeout(Some(TRY_FOR / 2))?;
            *heard |= asker
                .socket
                .recv_from(&mut packet)
                .is_ok_and(|(length, _)| &packet[..length] == b"punch");
        }
    }
    Ok(heard == [true; 2])
}
