//! Later fragments go where the first went: only that one has the ports.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long after the first fragment others are recognised; senders send them at once.
const LIFETIME: Duration = Duration::from_secs(2);
/// Datagrams in pieces at a time, of all senders.
const MOST: usize = 64;
/// Pieces of one datagram: 64 KiB in the smallest that anybody sends (RFC 791's 576 bytes).
const PIECES: u32 = 128;

/// What the fragments of one datagram have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub id: u32,
    /// The same packet may leave by several adapters.
    pub way: u64,
}

/// The datagrams whose first fragment was let through.
#[derive(Debug, Default)]
pub(super) struct Fragments(VecDeque<Begun>);

#[derive(Debug)]
struct Begun {
    datagram: Datagram,
    since: Instant,
    pieces: u32,
}

impl Fragments {
    /// The first fragment of this one was let through.
    pub fn insert(&mut self, datagram: Datagram, now: Instant) {
        self.0
            .retain(|begun| begun.datagram != datagram && now < begun.since + LIFETIME);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Begun {
            datagram,
            since: now,
            pieces: 1,
        });
    }

    /// Whether it was, and this may be another piece of it.
    pub fn follows(&mut self, datagram: &Datagram, now: Instant) -> bool {
        let is_it = |begun: &&mut Begun| begun.datagram == *datagram && now < begun.since + LIFETIME;
        let Some(begun) = self.0.iter_mut().find(is_it) else {
            return false;
        };
        begun.pieces += 1;
        begun.pieces <= PIECES
    }
}
