//! Measures how far a server is: by ICMP echo, and where that is not answered by how long a TCP connection takes to be accepted or
//! refused.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lanrage_agent_core::ip::echo;
use socket2::{Domain, Protocol, Socket, Type};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest ICMP packet that is looked at.
const LONGEST: usize = 256;

/// How a server was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Icmp,
    Tcp,
}

/// Asks three times. Blocks for a few seconds at most.
pub fn measure(server: SocketAddr) -> (Method, [Option<Duration>; 3]) {
    let by_icmp = pings(server.ip()).unwrap_or_default();
    if by_icmp.iter().any(Option::is_some) {
        return (Method::Icmp, by_icmp);
    }
    (Method::Tcp, [(); 3].map(|()| connect(server)))
}

fn pings(server: IpAddr) -> io::Result<[Option<Duration>; 3]> {
    let (domain, protocol) = match server {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.connect(&SocketAddr::new(server, 0).into())?;
    let id = rand::random();
    let mut times = [None; 3];
    for (sequence, time) in (0..).zip(&mut times) {
        *time = ping(&socket, server, id, sequence)?;
        if time.is_none() && sequence == 0 {
            // Who does not answer pings is not asked three times.
            break;
        }
    }
    Ok(times)
}

fn ping(socket: &Socket, server: IpAddr, id: u16, sequence: u16) -> io::Result<Option<Duration>> {
    let sent = Instant::now();
    socket.send(&echo::message(server.is_ipv6(), id, sequence))?;
    let mut buffer = [MaybeUninit::uninit(); LONGEST];
    loop {
        let left = PATIENCE.saturating_sub(sent.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // SAFETY: the system has written so many bytes.
        let packet: Vec<u8> = buffer[..length]
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        // IPv4 comes with its header, IPv6 without.
        let header = match server {
            IpAddr::V4(_) => packet.first().map_or(0, |first| usize::from(first & 0xf) * 4),
            IpAddr::V6(_) => 0,
        };
        if packet
            .get(header..)
            .and_then(|message| echo::answer(message, server.is_ipv6(), id))
            == Some(sequence)
        {
            return Ok(Some(sent.elapsed()));
        }
    }
}

fn connect(server: SocketAddr) -> Option<Duration> {
    let began = Instant::now();
    match TcpStream::connect_timeout(&server, PATIENCE) {
        Ok(_) => Some(began.elapsed()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Some(began.elapsed()),
        Err(_) => None,
    }
}

/// The first address of a server's name, IPv4 before IPv6: what games connect to.
pub async fn look_up(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    found.sort_by_key(|address| address.is_ipv6());
    let first = found
        .into_iter()
        .find(|address| address.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_accepts_or_refuses_a_connection_has_answered() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connect(address).is_some());
        drop(listener);
        assert!(connect(address).is_some());
    }
}
