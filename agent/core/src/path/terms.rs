//! What a peer's machine is asked with, and what it answers with.

use std::time::Instant;

use lanrage_shared::api::presence::NatSummary;
use lanrage_shared::signal::CandidateKind;
use rand::rngs::StdRng;

use super::Quality;
use crate::batch::{PathInUse, Route};

/// Party time: what all members' clocks agree on, as told by the control server.
#[derive(Debug, Clone, Copy)]
pub struct PartyClock {
    base: Instant,
    base_ms: u64,
}

impl PartyClock {
    /// A clock that shows `ms` (Unix milliseconds of the server) at `at`.
    pub fn new(at: Instant, ms: u64) -> Self {
        Self { base: at, base_ms: ms }
    }

    /// The time at `now` in ms.
    pub fn ms(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.base).as_millis();
        self.base_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// What a peer's machine needs from its surroundings.
pub struct Context<'a> {
    pub now: Instant,
    pub clock: PartyClock,
    pub rng: &'a mut StdRng,
    /// Start of this agent's run in ms of party time.
    pub run: u64,
    /// The NAT in front of this PC.
    pub nat: NatSummary,
}

/// What a path is made of. The order is the order of preference between paths of equal speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathKind {
    Direct(CandidateKind),
    Relay,
}

/// A relay that both sides have a session with, as a way to the peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelayRoute {
    pub route: Route,
    /// The round-trip time to expect, in ms.
    pub rtt_ms: f64,
    /// What the relay's load counts as when it is compared with another, in ms.
    pub load_ms: f64,
}

/// A direct path that works, and is not used all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeftForRelay {
    pub direct: Quality,
    /// Of the path through the relay.
    pub relay: Quality,
}

/// The path in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selected {
    pub route: Route,
    pub kind: PathKind,
    pub since: Instant,
    /// Smoothed round-trip time in ms.
    pub rtt_ms: Option<f64>,
    /// Once it answered.
    pub quality: Option<Quality>,
    /// Packets take this one as well, because the path does not answer at the moment.
    pub also: Option<Route>,
}

impl Selected {
    /// What the packet threads need to know of it.
    pub fn in_use(&self) -> PathInUse {
        PathInUse {
            route: self.route,
            also: self.also,
        }
    }
}
