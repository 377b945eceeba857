//! UDP sockets: buffers, fragmentation, port-unreachable reports.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::ptr::null_mut;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::{
    IP_DONTFRAGMENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_DONTFRAG, SIO_UDP_CONNRESET, SOCKET, WSAEACCES, WSAEADDRNOTAVAIL,
    WSAECONNREFUSED, WSAECONNRESET, WSAEHOSTUNREACH, WSAEINTR, WSAEMSGSIZE, WSAENETRESET, WSAENETUNREACH, WSAENOBUFS,
    WSAEWOULDBLOCK, WSAIoctl, setsockopt,
};

use crate::io::udp::SendDrop;

/// Bytes of system buffer per direction: 50 ms of 1 Gbit/s, so that a burst outlives a descheduled thread.
const SOCKET_BUFFER: usize = 7 << 20;

/// Sets the options a tunnel wants, after the batch library has set its own. The socket is left blocking.
pub(crate) fn prepare_udp_socket(socket: &Socket, ipv6: bool) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    // The batch library forbids fragmentation, for QUIC's path MTU search. A tunnel packet must arrive also where the path
    // is narrower than the inner MTU plus its wrapping. Wine knows neither of the next two settings.
    let _ = allow_fragments(socket, ipv6);
    let _ = mute_port_unreachable(socket);
    Ok(())
}

fn allow_fragments(socket: &Socket, ipv6: bool) -> io::Result<()> {
    let off = 0_u32;
    let (level, option) = if ipv6 {
        (IPPROTO_IPV6, IPV6_DONTFRAG)
    } else {
        (IPPROTO_IP, IP_DONTFRAGMENT)
    };
    // SAFETY: the option takes a DWORD, whose address and size are passed.
    let code = unsafe {
        setsockopt(
            socket.as_raw_socket() as SOCKET,
            level,
            option,
            (&raw const off).cast(),
            size_of::<u32>() as i32,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Without this a datagram to a closed port makes the next receive fail with 10054.
fn mute_port_unreachable(socket: &Socket) -> io::Result<()> {
    let off = 0_u32;
    let mut returned = 0;
    // SAFETY: the control code takes a BOOL, whose address and size are passed, and returns nothing.
    let code = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as SOCKET,
            SIO_UDP_CONNRESET,
            (&raw const off).cast(),
            size_of::<u32>() as u32,
            null_mut(),
            0,
            &mut returned,
            null_mut(),
            None,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Windows lets only its own quality-of-service policies mark packets (IP_TOS is ignored): nothing is marked.
pub(crate) fn mark_packets(_: &UdpSocket, _: u8) -> io::Result<bool> {
    Ok(false)
}

/// Of no use where nothing is marked.
pub(crate) fn send_marked_train(_: &UdpSocket, _: SocketAddr, _: &[u8], _: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Errors that an earlier datagram's ICMP answer left on the socket, or an interrupted call. Nothing is wrong with the
/// socket.
pub(crate) fn is_passing_udp_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(WSAECONNRESET | WSAECONNREFUSED | WSAENETRESET | WSAEINTR)
    )
}

/// Which counter a failed send belongs to.
pub(crate) fn classify_send_error(error: &io::Error) -> SendDrop {
    match error.raw_os_error() {
        Some(WSAENETUNREACH | WSAEHOSTUNREACH | WSAEADDRNOTAVAIL) => SendDrop::Unreachable,
        Some(WSAEACCES) => SendDrop::Forbidden,
        Some(WSAEMSGSIZE) => SendDrop::TooLarge,
        Some(WSAENOBUFS | WSAEWOULDBLOCK) => SendDrop::QueueFull,
        _ => SendDrop::Other,
    }
}

/// The socket blocks by itself.
pub(crate) fn wait_readable(_socket: &impl AsSocket) -> io::Result<()> {
    Ok(())
}

/// The socket blocks by itself.
pub(crate) fn wait_writable(_socket: &impl AsSocket) -> io::Result<()> {
    Ok(())
}
