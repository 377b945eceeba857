//! A pinger that loses no time: for measuring, not for people.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::netns::Netns;

const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const LENGTH: usize = 64;
static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// Sends ICMP echo requests (RFC 792) from a namespace to one address.
#[derive(Debug)]
pub struct Pinger {
    socket: Socket,
    target: SockAddr,
    id: u16,
    sequence: u16,
}

impl Pinger {
    /// A pinger from `netns` to `target`.
    pub fn new(netns: &Netns, target: Ipv4Addr) -> Result<Self> {
        let socket = netns
            .within(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)))?
            .context("opening a raw socket")?;
        Ok(Self {
            socket,
            target: SocketAddrV4::new(target, 0).into(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed) ^ (std::process::id() as u16),
            sequence: 0,
        })
    }

    /// One round trip; none when no answer came within `timeout` or there is no way there.
    pub fn ping(&mut self, timeout: Duration) -> Result<Option<Duration>> {
        self.sequence = self.sequence.wrapping_add(1);
        let sent = Instant::now();
        let unreachable = self.socket.send_to(&self.request(), &self.target).is_err();
        let deadline = sent + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
            let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    // SAFETY: the kernel has written the first `length` bytes.
                    let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
                    if !unreachable && self.is_answer(packet) {
                        return Ok(Some(sent.elapsed()));
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("waiting for an echo"),
            }
        }
    }

    /// Pings every `interval` until an answer comes; an error after `limit`.
    pub fn first_answer(&mut self, interval: Duration, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(round_trip) = self.ping(interval)? {
                return Ok(round_trip);
            }
        }
        bail!("no answer within {} s", limit.as_secs_f32())
    }

    /// The median of `count` round trips; unanswered ones are left out.
    pub fn median(&mut self, count: usize) -> Result<Duration> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.extend(self.ping(Duration::from_secs(1))?);
        }
        times.sort();
        times.get(times.len() / 2).copied().context("no ping was answered")
    }

    fn request(&self) -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        packet[0] = ECHO;
        packet[4..6].copy_from_slice(&self.id.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        let checksum = checksum(&packet);
        packet[2..4].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// Raw sockets hear every ICMP packet of the namespace, IP header included. An answer to an earlier request counts as
    /// late, not as an answer to this one.
    fn is_answer(&self, packet: &[u8]) -> bool {
        let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
        packet.get(header..header + 8).is_some_and(|icmp| {
            icmp[0] == ECHO_REPLY && icmp[4..6] == self.id.to_be_bytes() && icmp[6..8] == self.sequence.to_be_bytes()
        })
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
