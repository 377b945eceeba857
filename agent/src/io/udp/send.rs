//! To the wire: trains of equal datagrams in one call, everything else one by one, what fails counted.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lanrage_agent_core::batch::Datagram;
use quinn_udp::Transmit;
use tracing::debug;

use super::Half;
use crate::platform::{classify_send_error, is_passing_udp_error, mark_packets, send_marked_train, wait_writable};

/// Longest train in bytes: one IP packet can name 65,535, and headers need room.
const TRAIN_BYTES: usize = 60 * 1024;

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SendDrop {
    /// An IPv6 address, and this PC has no IPv6.
    NoIpv6,
    /// The system has no route to the address.
    Unreachable,
    /// A local firewall forbids it.
    Forbidden,
    /// Larger than the system takes.
    TooLarge,
    /// The system's queue is full.
    QueueFull,
    /// Anything else, such as an address nothing can be sent to.
    Other,
}

impl SendDrop {
    const ALL: [Self; 6] = [
        Self::NoIpv6,
        Self::Unreachable,
        Self::Forbidden,
        Self::TooLarge,
        Self::QueueFull,
        Self::Other,
    ];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoIpv6 => "no_ipv6",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::Other => "other",
        }
    }
}

thread_local! {
    /// Where a train is put together; every sending thread has its own.
    static TRAIN: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(TRAIN_BYTES));
}

/// Sends for both address families, from any thread.
#[derive(Debug)]
pub struct UdpSender {
    v4: Arc<Half>,
    v6: Option<Arc<Half>>,
    sent: AtomicU64,
    dropped: [AtomicU64; SendDrop::ALL.len()],
}

impl UdpSender {
    pub(super) fn new(v4: Arc<Half>, v6: Option<Arc<Half>>) -> Self {
        Self {
            v4,
            v6,
            sent: AtomicU64::new(0),
            dropped: Default::default(),
        }
    }

    /// Sends all and clears the batch. Waits while the system's queue is full.
    pub fn send_batch(&self, datagrams: &mut Vec<Datagram>) {
        let mut rest = datagrams.as_slice();
        while let Some(first) = rest.first() {
            let Some(half) = self.half(first.peer) else {
                self.count(Err(SendDrop::NoIpv6), 1);
                rest = &rest[1..];
                continue;
            };
            let segments = half.batches.as_ref().map_or(1, |state| state.max_gso_segments());
            let (run, after) = rest.split_at(train_length(rest, segments));
            rest = after;
            if run.len() > 1 && send_train(half, run).is_ok() {
                self.count(Ok(()), run.len());
            } else {
                for datagram in run {
                    self.count(send_waiting(half, datagram.peer, &datagram.data), 1);
                }
            }
        }
        datagrams.clear();
    }

    /// Sends one datagram without ever waiting, so that asynchronous tasks may use it.
    pub fn send_one(&self, to: SocketAddr, data: &[u8]) -> Result<(), SendDrop> {
        let result = match self.half(to) {
            Some(half) => send_now(half, to, data).map_err(|error| classify_send_error(&error)),
            None => Err(SendDrop::NoIpv6),
        };
        self.count(result, 1);
        result
    }

    /// Marks everything from now on with this differentiated services code point; 0 marks nothing.
    pub fn mark(&self, dscp: u8) {
        for half in [Some(&self.v4), self.v6.as_ref()].into_iter().flatten() {
            match mark_packets(&half.socket, dscp) {
                Ok(marked) => half.marked.store(marked, Ordering::Relaxed),
                Err(error) => debug!(%error, dscp, "this system does not mark packets"),
            }
        }
    }

    /// Datagrams given to the system.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Datagrams not sent, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (SendDrop, u64)> + '_ {
        SendDrop::ALL
            .into_iter()
            .zip(&self.dropped)
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    /// Ends the receivers of this port; their threads return.
    pub fn close(&self) {
        self.v4.close();
        if let Some(v6) = &self.v6 {
            v6.close();
        }
    }

    fn half(&self, to: SocketAddr) -> Option<&Half> {
        match to {
            SocketAddr::V4(_) => Some(&self.v4),
            SocketAddr::V6(_) => self.v6.as_deref(),
        }
    }

    fn count(&self, result: Result<(), SendDrop>, datagrams: usize) {
        let counter = match result {
            Ok(()) => &self.sent,
            Err(reason) => &self.dropped[reason as usize],
        };
        counter.fetch_add(datagrams as u64, Ordering::Relaxed);
    }
}

/// How many of the first datagrams can go in one call: same address, same length, only the last may be shorter.
fn train_length(datagrams: &[Datagram], segments: usize) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let segment = first.data.len();
    if segment == 0 {
        return 1;
    }
    let most = segments.min(TRAIN_BYTES / segment).max(1);
    let mut length = 1;
    for datagram in datagrams.iter().take(most).skip(1) {
        let size = datagram.data.len();
        if datagram.peer != first.peer || size > segment || size == 0 {
            break;
        }
        length += 1;
        if size < segment {
            break;
        }
    }
    length
}

/// One call for all of `run`. On failure nothing was sent: networks cards without the feature, or a path whose MTU is
/// below the datagrams, so that they need the system to fragment them one by one.
fn send_train(half: &Half, run: &[Datagram]) -> io::Result<()> {
    let (Some(batches), Some(first)) = (&half.batches, run.first()) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    TRAIN.with_borrow_mut(|train| {
        train.clear();
        for datagram in run {
            train.extend_from_slice(&datagram.data);
        }
        if half.marked.load(Ordering::Relaxed)
            && let Ok(segment) = u16::try_from(first.data.len())
        {
            return retrying(half, || send_marked_train(&half.socket, first.peer, train, segment));
        }
        let transmit = Transmit {
            destination: first.peer,
            ecn: None,
            contents: train,
            segment_size: Some(first.data.len()),
            src_ip: None,
        };
        retrying(half, || batches.try_send((&half.socket).into(), &transmit))
    })
}

/// Single datagrams bypass the batch state: an address nothing can be sent to (a peer may name one) would make it give up
/// trains for good.
fn send_now(half: &Half, to: SocketAddr, data: &[u8]) -> io::Result<()> {
    match half.socket.send_to(data, to) {
        Err(error) if is_passing_udp_error(&error) => half.socket.send_to(data, to).map(drop),
        other => other.map(drop),
    }
}

fn send_waiting(half: &Half, to: SocketAddr, data: &[u8]) -> Result<(), SendDrop> {
    retrying(half, || send_now(half, to, data)).map_err(|error| classify_send_error(&error))
}

/// Tries once more when the system's queue had no room and then got some, or when an earlier packet's error was reported.
fn retrying(half: &Half, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match send() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            wait_writable(&half.socket)?;
            send()
        }
        Err(error) if is_passing_udp_error(&error) => send(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn batch(spec: &[(u16, usize)]) -> Vec<Datagram> {
        spec.iter()
            .map(|&(port, length)| Datagram {
                peer: SocketAddr::from(([192, 0, 2, 1], port)),
                data: BytesMut::zeroed(length),
            })
            .collect()
    }

    #[test]
    fn a_train_ends_with_its_first_shorter_datagram() {
        assert_eq!(train_length(&batch(&[(1, 9), (1, 9), (1, 5), (1, 5)]), 64), 3);
        assert_eq!(train_length(&batch(&[(1, 9), (1, 10)]), 64), 1);
    }

    #[test]
    fn a_train_goes_to_one_address() {
        assert_eq!(train_length(&batch(&[(1, 9), (2, 9)]), 64), 1);
    }

    #[test]
    fn a_train_keeps_the_systems_limits() {
        let equal = vec![(1, 1000); 100];
        assert_eq!(train_length(&batch(&equal), 64), TRAIN_BYTES / 1000);
        assert_eq!(train_length(&batch(&equal), 8), 8);
        assert_eq!(train_length(&batch(&[(1, 65_000), (1, 65_000)]), 64), 1);
    }

    #[test]
    fn empty_datagrams_travel_alone() {
        assert_eq!(train_length(&batch(&[(1, 0), (1, 0)]), 64), 1);
        assert_eq!(train_length(&batch(&[(1, 9), (1, 0)]), 64), 1);
        assert_eq!(train_length(&[], 64), 0);
    }
}
