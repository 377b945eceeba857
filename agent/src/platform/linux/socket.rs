//! UDP sockets: buffers, fragmentation, waiting.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{SockAddr, SockRef, Socket};

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

/// Marks what the socket sends from now on (RFC 2474); 0 marks nothing. True: trains have to go through [`send_marked_train`],
/// because the batch library marks each of its own with 0.
pub(crate) fn mark_packets(socket: &UdpSocket, dscp: u8) -> io::Result<bool> {
    let class = u32::from(dscp) << 2;
    let socket = SockRef::from(socket);
    if socket.local_addr()?.is_ipv6() {
        socket.set_tclass_v6(class)?;
    } else {
        socket.set_tos_v4(class)?;
    }
    Ok(dscp != 0)
}

/// Sends datagrams of `segment` bytes, one after the other in `train`, in one call (UDP_SEGMENT), marked as the socket is.
pub(crate) fn send_marked_train(socket: &UdpSocket, to: SocketAddr, train: &[u8], segment: u16) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    /// Room for one control message with a u16, aligned as its header wants.
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let to = SockAddr::from(to);
    let mut control = Control([0; 64]);
    let mut slice = libc::iovec {
        iov_base: train.as_ptr().cast_mut().cast(),
        iov_len: train.len(),
    };
    // SAFETY: all of these are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    // SAFETY: computes a length.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as _;
    // SAFETY: the buffer has room for one header and a u16, as `msg_controllen` says.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment);
    }
    // SAFETY: everything the message points to outlives the call, which only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
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
