//! Later fragments go where the first went: only that one has the ports.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long after the first fragment others are recognised; senders send them at once.
const LIFETIME: Duration = Duration::from_secs(2);
/// Datagrams in pieces at a time, of all senders.
const MOST: usize = 64;

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
pub(super) struct Fragments(VecDeque<(Datagram, Instant)>);

impl Fragments {
    /// The first fragment of this one was let through.
    pub fn insert(&mut self, datagram: Datagram, now: Instant) {
        self.0
            .retain(|(known, since)| *known != datagram && now < *since + LIFETIME);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((datagram, now));
    }

    /// Whether it was.
    pub fn contains(&self, datagram: &Datagram, now: Instant) -> bool {
        let is_it = |(known, since): &(Datagram, Instant)| known == datagram && now < *since + LIFETIME;
        self.0.iter().any(is_it)
    }
}
