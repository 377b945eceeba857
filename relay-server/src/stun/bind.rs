//! Binds the sockets of a server: all of them or none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use lanrage_relay_core::stun::{Listen, ListenError, LocalPort};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::StunConfig;
use super::socket::Socket;

/// Room for requests that arrive while the server is busy: 10,000 of them with the kernel's own overhead. Taken as far as
/// the system allows.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Attempts to find a port that is free on every address.
const FREE_PORT_ATTEMPTS: usize = 16;

/// Why a STUN server cannot start; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "UDP port {0} is taken by another program; stop that program or choose another port with --stun-port and --stun-second-port"
    )]
    PortTaken(SocketAddr),
    #[error("this machine has no address {0}; give one of its own with --listen-address (`ip address` lists them)")]
    NotOurAddress(IpAddr),
    #[error("UDP port {0} may only be opened by root; choose a port from 1024 up")]
    NotAllowed(SocketAddr),
    #[error("UDP port {0} cannot be opened ({1}); check the machine's network settings")]
    Io(SocketAddr, #[source] io::Error),
}

pub(super) fn bind(config: &StunConfig) -> Result<(Listen, Vec<Socket>), BindError> {
    let every_address = config.listen_addresses.is_empty();
    let addresses = if every_address {
        vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
    } else {
        config.listen_addresses.clone()
    };
    let wanted = [config.port, config.second_port];
    if wanted[0] == wanted[1] && wanted[0] != 0 {
        return Err(ListenError::SamePort(wanted[0]).into());
    }
    // Before anything is bound, so that a mistake in the addresses is named as what it is.
    Listen::new(addresses.clone(), [1, 2])?;
    let (addresses, first) = bind_port(&addresses, wanted[0], every_address)?;
    let (addresses, second) = bind_port(&addresses, wanted[1], false)?;
    let port_of = |sockets: &[UdpSocket]| {
        sockets
            .first()
            .and_then(|socket| socket.local_addr().ok())
            .map_or(0, |at| at.port())
    };
    let listen = Listen::new(addresses, [port_of(&first), port_of(&second)])?;
    let mut sockets = Vec::new();
    for (port, bound) in [first, second].into_iter().enumerate() {
        for (address, socket) in bound.into_iter().enumerate() {
            let local = LocalPort { address, port };
            let at = listen
                .socket_address(local)
                .unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
            sockets.push(Socket::new(socket, local).map_err(|error| BindError::Io(at, error))?);
        }
    }
    Ok((listen, sockets))
}

/// Binds one port on every address. With `skip_missing`, a family this machine does not have is left out.
fn bind_port(addresses: &[IpAddr], port: u16, skip_missing: bool) -> Result<(Vec<IpAddr>, Vec<UdpSocket>), BindError> {
    let mut attempt = 1;
    loop {
        match try_bind_port(addresses, port, skip_missing) {
            // Port 0 takes one that is free on the first address only.
            Err(BindError::PortTaken(_)) if port == 0 && attempt < FREE_PORT_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn try_bind_port(
    addresses: &[IpAddr],
    port: u16,
    skip_missing: bool,
) -> Result<(Vec<IpAddr>, Vec<UdpSocket>), BindError> {
    let mut port = port;
    let mut missing = None;
    let mut bound = (Vec::new(), Vec::new());
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        match open(at) {
            Ok(socket) => {
                port = socket.local_addr().map_err(|error| BindError::Io(at, error))?.port();
                bound.0.push(*address);
                bound.1.push(socket);
            }
            Err(error) if skip_missing && is_missing_family(&error) => missing = Some(BindError::Io(at, error)),
            Err(error) => return Err(explain(at, error)),
        }
    }
    match missing {
        Some(error) if bound.1.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn open(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = RawSocket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "the socket keeps its small receive buffer");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn is_missing_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // EAFNOSUPPORT (Linux) and WSAEAFNOSUPPORT have no kind of their own.
        || matches!(error.raw_os_error(), Some(97 | 10047))
}

fn explain(at: SocketAddr, error: io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::PortTaken(at),
        io::ErrorKind::AddrNotAvailable => BindError::NotOurAddress(at.ip()),
        io::ErrorKind::PermissionDenied => BindError::NotAllowed(at),
        _ => BindError::Io(at, error),
    }
}
