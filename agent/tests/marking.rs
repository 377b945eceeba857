//! What peers' routers see of a DSCP (RFC 2474), for datagrams that go one by one and for trains.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, but not their helpers")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::BytesMut;
use lanrage::io::udp::{UdpPort, UdpSender};
use lanrage_agent_core::batch::Datagram;
use socket2::SockRef;

/// Expedited forwarding (RFC 3246).
const EF: u8 = 46;

fn listener(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    match address {
        IpAddr::V4(_) => SockRef::from(&socket).set_recv_tos_v4(true).unwrap(),
        IpAddr::V6(_) => SockRef::from(&socket).set_recv_tclass_v6(true).unwrap(),
    }
    socket
}

/// The length of the next datagram and how it is marked.
fn next(socket: &UdpSocket) -> (usize, u8) {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let (mut data, mut control) = ([0_u8; 2048], Control([0; 64]));
    let mut slice = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: everything that the message points to is ours and has the lengths it says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    assert!(length >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel filled the buffer with headers; both kinds asked for begin with the byte that counts (little endian).
    let class = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null());
        *libc::CMSG_DATA(header)
    };
    (length as usize, class >> 2)
}

fn send(sender: &UdpSender, to: SocketAddr, lengths: &[usize]) {
    let datagram = |length: &usize| Datagram {
        peer: to,
        data: BytesMut::zeroed(*length),
    };
    sender.send_batch(&mut lengths.iter().map(datagram).collect());
}

fn check(address: IpAddr) {
    let socket = listener(address);
    let to = socket.local_addr().unwrap();
    let (sender, _receivers) = UdpPort::bind(None).unwrap().split();
    let train = [1200, 1200, 1200, 700];
    let heard = |lengths: &[usize]| lengths.iter().map(|_| next(&socket)).collect::<Vec<_>>();
    let marked = |dscp| train.map(|length| (length, dscp));

    send(&sender, to, &train);
    assert_eq!(heard(&train), marked(0));
    sender.mark(EF);
    send(&sender, to, &train);
    assert_eq!(heard(&train), marked(EF));
    sender.send_one(to, &[0; 9]).unwrap();
    assert_eq!(next(&socket), (9, EF));
    sender.mark(0);
    send(&sender, to, &train);
    assert_eq!(heard(&train), marked(0), "nothing is left of it");
    assert_eq!(sender.sent(), 13);
}

#[test]
fn trains_and_single_datagrams_are_marked_until_told_otherwise() {
    check(Ipv4Addr::LOCALHOST.into());
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        check(Ipv6Addr::LOCALHOST.into());
    }
}
