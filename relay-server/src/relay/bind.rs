//! Binds the relay's sockets: UDP and TCP at one port number, on every address asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use lanrage_relay_client::transport::bind_udp;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted: all agents of a few hundred parties at once.
const BACKLOG: i32 = 1024;
/// Attempts to find a port that is free for UDP and for TCP on every address.
const FREE_PORT_ATTEMPTS: usize = 16;

/// Why a relay cannot start; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "port {port} is taken by another program for {protocol}; stop that program or choose another port with --port"
    )]
    PortTaken { port: u16, protocol: &'static str },
    #[error(
        "this machine has no address {address}; give one of its own with --listen-address (`ip address` lists them)"
    )]
    NotOurAddress { address: IpAddr },
    #[error(
        "port {port} may only be opened by root; choose a port from 1024 up with --port, or grant CAP_NET_BIND_SERVICE"
    )]
    NotAllowed { port: u16 },
    #[error("port {port} cannot be opened for {protocol} ({why}); check the machine's network settings")]
    Io {
        port: u16,
        protocol: &'static str,
        #[source]
        why: io::Error,
    },
}

/// The sockets of one address.
pub(super) struct Bound {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Every socket, or none; no addresses stand for all of this machine.
pub(super) fn bind(addresses: &[IpAddr], port: u16) -> Result<(Vec<Bound>, u16), BindError> {
    let mut attempt = 1;
    loop {
        let result = match addresses {
            [] => bind_any(port),
            addresses => bind_all(addresses, port, true),
        };
        match result {
            // Port 0 takes one that is free for UDP on the first address only.
            Err(BindError::PortTaken { .. }) if port == 0 && attempt < FREE_PORT_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn bind_any(port: u16) -> Result<(Vec<Bound>, u16), BindError> {
    match bind_all(&[Ipv6Addr::UNSPECIFIED.into()], port, false) {
        // A machine without IPv6.
        Err(BindError::NotOurAddress { .. } | BindError::Io { .. }) => {
            bind_all(&[Ipv4Addr::UNSPECIFIED.into()], port, true)
        }
        result => result,
    }
}

fn bind_all(addresses: &[IpAddr], mut port: u16, v6_only: bool) -> Result<(Vec<Bound>, u16), BindError> {
    let mut all = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        let udp = bind_udp(at, v6_only).map_err(|error| explain(at, "UDP", error))?;
        port = udp.local_addr().map_err(|error| explain(at, "UDP", error))?.port();
        let at = SocketAddr::new(*address, port);
        let tcp = bind_tcp(at, v6_only).map_err(|error| explain(at, "TCP", error))?;
        all.push(Bound { udp, tcp });
    }
    Ok((all, port))
}

fn bind_tcp(at: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // A relay that restarts finds connections of its predecessor in TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(super) fn explain(at: SocketAddr, protocol: &'static str, why: io::Error) -> BindError {
    let port = at.port();
    match why.kind() {
        io::ErrorKind::AddrInUse => BindError::PortTaken { port, protocol },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurAddress { address: at.ip() },
        io::ErrorKind::PermissionDenied => BindError::NotAllowed { port },
        _ => BindError::Io { port, protocol, why },
    }
}
