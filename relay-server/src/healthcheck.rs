//! `lanrage-relay healthcheck`: whether the relay of this machine answers, for managers of containers and services that know no
//! more than a program's exit code.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::stun::StunConfig;

/// A relay that cannot start serves no STUN either, so that is what is asked for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two requests: a datagram may get lost where a queue is full.
const AGAIN: Duration = Duration::from_millis(500);
/// A binding request and its magic cookie (RFC 8489 §5).
const HEAD: [u8; 8] = [0x00, 0x01, 0x00, ROOM + 4, 0x21, 0x12, 0xa4, 0x42];
/// The answer to it.
const SUCCESS: [u8; 2] = [0x01, 0x01];
/// SOFTWARE, as long as the answer may be: nobody is answered with more than they asked with.
const SOFTWARE: [u8; 4] = [0x80, 0x22, 0x00, ROOM];
const ROOM: u8 = 88;

/// Why the relay is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("no lanrage-relay answers STUN on {0}: start it, or name its port with --stun-port")]
    Silent(SocketAddr),
    #[error("{0} cannot be asked ({1})")]
    Unreachable(SocketAddr, io::Error),
}

/// Asks the STUN service with these settings on this machine.
pub fn healthcheck(stun: &StunConfig) -> Result<(), Unhealthy> {
    let ip = match stun.listen_addresses.first() {
        Some(ip) if !ip.is_unspecified() => *ip,
        _ => Ipv4Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, stun.port);
    match answers(address) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unhealthy::Silent(address)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Unhealthy::Silent(address)),
        Err(error) => Err(Unhealthy::Unreachable(address, error)),
    }
}

fn answers(address: SocketAddr) -> io::Result<bool> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(AGAIN))?;
    let id: [u8; 12] = rand::random();
    let request = [&HEAD[..], &id, &SOFTWARE, &[b' '; ROOM as usize]].concat();
    let began = Instant::now();
    let mut answer = [0; 512];
    while began.elapsed() < PATIENCE {
        socket.send(&request)?;
        match socket.recv(&mut answer) {
            Ok(length) if length >= 20 && answer[..2] == SUCCESS && answer[8..20] == id => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
