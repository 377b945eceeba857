//! Broadcasts and multicasts that leave this PC by an Ethernet or Wi-Fi adapter, read from a packet socket (packet(7)).

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use bytes::BytesMut;
use lanrage_agent_core::dataplane::OtherAdapter;

/// Larger than any frame of an adapter that does not leave segmentation to its hardware; and discovery is not segmented.
const LONGEST: usize = 65_535;
/// Offsets of what the kernel knows of a packet, and of its link layer's header (linux/filter.h).
const ANCILLARY: u32 = (-0x1000i32) as u32;
const PROTOCOL: u32 = ANCILLARY;
const PACKET_TYPE: u32 = ANCILLARY + 4;
const HARDWARE: u32 = ANCILLARY + 28;
const LINK: u32 = (-0x0020_0000i32) as u32;
/// Offset of the protocol in an IPv4 and an IPv6 header.
const V4_PROTOCOL: u32 = 9;
const V6_PROTOCOL: u32 = 6;
const UDP: u32 = 17;
const FRAGMENT: u32 = 44;

/// Hands over every UDP packet of this PC that leaves by one of the adapters for everybody. Ends when the system gives no more.
pub fn overhear(
    adapters: impl Fn() -> Arc<Vec<OtherAdapter>>,
    mut handle: impl FnMut(BytesMut, &OtherAdapter),
) -> io::Error {
    let socket = match open() {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    let mut buffer = vec![0; LONGEST];
    loop {
        let (length, index) = match receive(&socket, &mut buffer) {
            Ok(received) => received,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENETDOWN | libc::ENOBUFS)) => {
                continue;
            }
            Err(error) => return error,
        };
        if let Some(adapter) = adapters().iter().find(|adapter| adapter.index == index) {
            handle(BytesMut::from(&buffer[..length]), adapter);
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let all = libc::ETH_P_ALL as u16;
    // No protocol yet: nothing arrives before the filter is there.
    // SAFETY: the call takes numbers and gives a new descriptor, or an error.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut program = filter();
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the option takes a program, which outlives the call, with its length.
    let attached = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if attached != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes is a valid value of this plain struct.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = all.to_be();
    // SAFETY: the address is of the family it says, and as long as is said.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Length of the packet, and the index of the interface it left by.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
    // SAFETY: all zeroes is a valid value of this plain struct.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: buffer and address are ours, and as long as is said.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    match usize::try_from(received) {
        Ok(received) => Ok((received, from.sll_ifindex as u32)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Runs in the kernel for every packet of this PC: outgoing, of an Ethernet, to a group address (the lowest bit of its first
/// byte), UDP or a fragment that may be. Each step goes on with the next, or jumps over as many as it says; the last takes nothing.
fn filter() -> Vec<libc::sock_filter> {
    let load_word = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let load_byte = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let has_bit = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    let skip = (libc::BPF_JMP | libc::BPF_JA) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    vec![
        step(load_word, 0, 0, PACKET_TYPE),
        step(equal, 0, 13, u32::from(libc::PACKET_OUTGOING)),
        step(load_word, 0, 0, HARDWARE),
        step(equal, 0, 11, u32::from(libc::ARPHRD_ETHER)),
        step(load_byte, 0, 0, LINK),
        step(has_bit, 0, 9, 1),
        step(load_word, 0, 0, PROTOCOL),
        step(equal, 3, 0, libc::ETH_P_IP as u32),
        step(equal, 0, 6, libc::ETH_P_IPV6 as u32),
        step(load_byte, 0, 0, V6_PROTOCOL),
        step(skip, 0, 0, 1),
        step(load_byte, 0, 0, V4_PROTOCOL),
        step(equal, 1, 0, UDP),
        step(equal, 0, 1, FRAGMENT),
        step(give, 0, 0, LONGEST as u32),
        step(give, 0, 0, 0),
    ]
}
