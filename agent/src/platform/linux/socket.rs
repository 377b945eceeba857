//! UDP sockets: buffers, fragmentation, waiting.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::Socket;

use crate::io::udp::SendDrop;

/// Bytes of kernel buffer per direction: 50 ms of 1 Gbit/s, so that a burst outlives a descheduled thread.
const SOCKET_BUFFER: usize = 7 << 20;
/// How long a sender waits for room in the kernel's queue before the datagram is given up.
const SEND_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Sets the options a tunnel wants, after the batch library has set its own.
pub(crate) fn prepare_udp_socket(socket: &Socket, ipv6: bool) -> io::Result<()> {
    // Root may pass the limits of net.core.{r,w}mem_max; others get what those allow.
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER)?;
    }
    if sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER)?;
    }
    // The batch library forbids fragmentation, for QUIC's path MTU search. A tunnel packet must arrive also where the path
    // is narrower than the inner MTU plus its wrapping: WireGuard lets it be fragmented, and so do we.
    if ipv6 {
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
        set_ipv6_may_fragment(socket)
    } else {
        Ok(sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?)
    }
}

/// Clears IPV6_DONTFRAG (RFC 3542 §11.2), which rustix does not name.
fn set_ipv6_may_fragment(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let off: libc::c_int = 0;
    // SAFETY: the option takes an int, whose address and size are passed.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DONTFRAG,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Errors that an earlier datagram's ICMP answer left on the socket, or an interrupted call. Nothing is wrong with the
/// socket.
pub(crate) fn is_passing_udp_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// Which counter a failed send belongs to.
pub(crate) fn classify_send_error(error: &io::Error) -> SendDrop {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN) => SendDrop::Unreachable,
        Some(libc::EPERM | libc::EACCES) => SendDrop::Forbidden,
        Some(libc::EMSGSIZE) => SendDrop::TooLarge,
        Some(libc::EAGAIN | libc::ENOBUFS) => SendDrop::QueueFull,
        _ => SendDrop::Other,
    }
}

/// Waits until a datagram can be read.
pub(crate) fn wait_readable(socket: &impl AsFd) -> io::Result<()> {
    wait(socket, PollFlags::IN, None)
}

/// Waits a moment for room in the kernel's queue.
pub(crate) fn wait_writable(socket: &impl AsFd) -> io::Result<()> {
    wait(socket, PollFlags::OUT, Some(&SEND_PATIENCE))
}

fn wait(socket: &impl AsFd, events: PollFlags, patience: Option<&Timespec>) -> io::Result<()> {
    match poll(&mut [PollFd::new(socket, events)], patience) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
