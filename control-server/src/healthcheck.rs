//! `lanrage-control healthcheck`: whether the server of this machine is ready, for managers of containers and services that
//! know no more than a program's exit code.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::ids::Pin;
use lanrage_shared::invite::DEFAULT_PORT;
use lanrage_tls::pinned::{client_config, failed_by_wrong_key};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// Longest wait for each step. The server itself gives its database a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer read. That of `/readyz` is far shorter.
const LONGEST: u64 = 4096;

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("no lanrage-control answers on {0}: start it, or name its port with --listen")]
    Silent(SocketAddr),
    #[error("what answers on {0} has another key than this data directory: name the other with --data-dir")]
    AnotherServer(SocketAddr),
    #[error("the server is not ready: {0}")]
    NotReady(String),
}

/// Asks the server that listens on `listen` and has the key of `pin` whether it is ready.
pub fn healthcheck(listen: Option<SocketAddr>, pin: Pin) -> Result<(), Unhealthy> {
    let address = reached_at(listen.unwrap_or((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()));
    let answer = get(address, pin, "/readyz").map_err(|error| {
        if failed_by_wrong_key(&error) {
            Unhealthy::AnotherServer(address)
        } else {
            Unhealthy::Silent(address)
        }
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    let status = head.split(' ').nth(1).unwrap_or("no HTTP");
    if status == "200" {
        return Ok(());
    }
    Err(Unhealthy::NotReady(format!("{status}, {}", body.trim())))
}

/// The answer to a request without a token, status line and all, of the server with this key.
pub fn get(address: SocketAddr, pin: Pin, path: &str) -> io::Result<String> {
    let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let name = ServerName::from(address.ip());
    let client = ClientConnection::new(Arc::new(client_config(pin, &[b"http/1.1"])), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(client, tcp);
    write!(
        tls,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    match tls.take(LONGEST).read_to_end(&mut answer) {
        // The server may close the connection without taking leave of TLS.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// How this machine reaches what listens on `address`.
pub(crate) fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_reached_by_loopback() {
        let reached = |text: &str| reached_at(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
    }
}
