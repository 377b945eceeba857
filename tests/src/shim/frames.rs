//! Frames in and out of an interface through a packet socket, in batches.
//!
//! Every frame carries the kernel's virtio header (`PACKET_VNET_HDR`), so that a checksum the sender left to its device is
//! still left to be done when the frame goes on.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, SockAddr, Socket, Type};

const BATCH: usize = 64;
/// Bytes of the virtio header (struct virtio_net_hdr).
const VIRTIO_HEADER: usize = 10;
/// The largest frame of an interface of the usual MTU, the virtio header included, with room for tags.
const FRAME: usize = 2048;
const SOCKET_BUFFER: libc::c_int = 32 << 20;

/// One interface.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    buffers: Vec<[u8; FRAME]>,
    /// Frames that were super-packets, or that the interface refused.
    pub refused: u64,
}

impl Port {
    /// Opens an interface of this network namespace.
    pub fn open(name: &str) -> Result<Self> {
        let interface = index_of(name).with_context(|| format!("there is no interface {name}"))?;
        // No protocol until the socket is bound: otherwise it would hear every interface in between.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).context("opening a packet socket")?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        set(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, SOCKET_BUFFER)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SOCKET_BUFFER)?;
        socket
            .bind(&link_address(interface)?)
            .with_context(|| format!("binding to {name}"))?;
        Ok(Self {
            socket,
            buffers: vec![[0; FRAME]; BATCH],
            refused: 0,
        })
    }

    /// Hands every frame that is there to `take`.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<()> {
        let mut parts: Vec<libc::iovec> = self.buffers.iter_mut().map(|buffer| part(buffer)).collect();
        let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
        // SAFETY: every message points at one part and every part at one buffer, all of which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                // The interface went down; it is being taken away with the lab.
                _ if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(()),
                _ => Err(error).context("reading frames"),
            };
        };
        for (message, buffer) in messages.iter().zip(&self.buffers).take(received) {
            if message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                self.refused += 1;
            } else {
                take(&buffer[..message.msg_len as usize]);
            }
        }
        Ok(())
    }

    /// Sends up to a batch of the frames that `next` gives; the buffers come back for reuse.
    pub fn send(&mut self, next: impl FnMut() -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut frames: Vec<Vec<u8>> = std::iter::from_fn(next).take(BATCH).collect();
        let mut parts: Vec<libc::iovec> = frames.iter_mut().map(|frame| part(frame)).collect();
        let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &mut messages[sent..];
            // SAFETY: as in `receive`; the kernel only reads.
            let count = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    0,
                )
            };
            match usize::try_from(count) {
                Ok(count) if count > 0 => sent += count,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // No room, or a frame the device does not take: lost, as on any wire.
                _ => {
                    self.refused += 1;
                    sent += 1;
                }
            }
        }
        frames
    }
}

/// Whether a frame, as [`Port::receive`] gives it, is ARP, or ICMPv6 that does the same (RFC 4861 §4). A lossy path loses what
/// routers pass on; how two machines on one wire find each other is none of that, and would stop everything for seconds.
pub fn finds_neighbours(frame: &[u8]) -> bool {
    let ethernet = frame.get(VIRTIO_HEADER..).unwrap_or_default();
    match ethernet.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => {
            ethernet.get(20) == Some(&58) && ethernet.get(54).is_some_and(|kind| (133..=136).contains(kind))
        }
        _ => false,
    }
}

/// Waits until a port has frames, at most `limit`; which have.
pub fn wait_readable(ports: &[Port; 2], limit: Duration) -> Result<[bool; 2]> {
    let mut polled = [&ports[0], &ports[1]].map(|port| libc::pollfd {
        fd: port.socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let limit = libc::timespec {
        tv_sec: limit.as_secs().cast_signed(),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: the array and the timespec outlive the call.
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &limit, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok([false; 2]),
            _ => Err(error).context("waiting for frames"),
        };
    }
    Ok(polled.map(|port| port.revents != 0))
}

/// Asks the kernel to wake this thread to the nanosecond instead of within 50 µs.
pub fn precise_timers() {
    // SAFETY: plain system call; failure leaves the default.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

fn index_of(name: &str) -> io::Result<libc::c_int> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a terminated string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => libc::c_int::try_from(index).map_err(io::Error::other),
    }
}

fn link_address(interface: libc::c_int) -> io::Result<SockAddr> {
    // SAFETY: a sockaddr_ll fits the storage, and all zero bytes are one.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as u16;
            (*link).sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            (*link).sll_ifindex = interface;
            *length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: an int of the size that is named.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("setting option {option} of a packet socket"));
    }
    Ok(())
}

fn part(buffer: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    }
}

fn message(part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all zero bytes are an empty message.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_neighbours_is_told_from_the_rest() {
        let frame = |kind: [u8; 2], protocol: u8, icmp: u8| {
            let mut frame = [0; VIRTIO_HEADER + 86];
            frame[VIRTIO_HEADER + 12..][..2].copy_from_slice(&kind);
            frame[VIRTIO_HEADER + 20] = protocol;
            frame[VIRTIO_HEADER + 54] = icmp;
            frame
        };
        assert!(finds_neighbours(&frame([0x08, 0x06], 0, 0)));
        assert!(finds_neighbours(&frame([0x86, 0xdd], 58, 135)));
        assert!(!finds_neighbours(&frame([0x86, 0xdd], 58, 128)));
        assert!(!finds_neighbours(&frame([0x08, 0x00], 58, 135)));
        assert!(!finds_neighbours(&[0; 12]));
    }
}
