//! What is known of each relay, and what it is used for.

use std::time::{Duration, Instant};

use lanrage_shared::api::relay::Relay;

/// A relay that failed is tried again after this, and after twice that when it failed again, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(960);
/// The distance to a relay that is not used is measured anew after this: routes on the internet change, but seldom.
const REMEASURE: Duration = Duration::from_secs(1800);

/// What a relay is to this agent, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Peers reach this agent through it first.
    Home,
    /// Takes over when the home relay fails.
    Spare,
    /// Leads to peers that home and spare do not lead to, or better.
    ForPeers,
    /// Just being measured.
    Tried,
    Unused,
}

/// What is wrong with a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It could not be reached, or ended the session: why, in words.
    Unreachable(String),
    /// It is about to stop.
    Draining,
}

/// A relay does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub trouble: Trouble,
    /// The first time in a row.
    pub since: Instant,
    last: Instant,
    times: u32,
}

/// An offered relay, as the agent sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRelay {
    pub relay: Relay,
    pub role: Role,
    /// As last measured.
    pub rtt: Option<Duration>,
    pub failure: Option<Failure>,
}

/// What [`super::RelayChoice`] remembers of a relay.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub rtt: Option<Duration>,
    pub failure: Option<Failure>,
    /// When it was last measured from where this PC is now.
    measured: Option<Instant>,
    /// When the session began that is there to measure it.
    pub tried: Option<Instant>,
    /// When it stopped being used.
    pub left: Option<Instant>,
}

impl Known {
    pub fn handle_rtt(&mut self, rtt: Duration, now: Instant) {
        self.rtt = Some(rtt);
        self.measured = Some(now);
        self.failure = None;
        self.tried = None;
    }

    pub fn handle_failure(&mut self, trouble: Trouble, now: Instant) {
        let before = self.failure.as_ref();
        self.failure = Some(Failure {
            trouble,
            since: before.map_or(now, |failure| failure.since),
            last: now,
            times: before.map_or(1, |failure| failure.times.saturating_add(1)),
        });
        self.tried = None;
    }

    /// What was measured elsewhere is better than nothing until it is measured here.
    pub fn handle_moved(&mut self) {
        self.measured = None;
    }

    /// Whether the first attempt to measure it is over.
    pub fn is_settled(&self) -> bool {
        self.rtt.is_some() || self.failure.is_some()
    }

    /// From when on it is worth a session to measure it; none = at once.
    pub fn due_at(&self) -> Option<Instant> {
        match (&self.failure, self.measured) {
            (Some(failure), _) => {
                let doublings = failure.times.saturating_sub(1).min(5);
                Some(failure.last + (REST * 2u32.pow(doublings)).min(LONGEST_REST))
            }
            (None, Some(at)) => Some(at + REMEASURE),
            (None, None) => None,
        }
    }

    /// Whom to measure first: whoever never was, then the longest ago.
    pub fn urgency(&self) -> (bool, Option<Instant>) {
        (self.rtt.is_some(), self.measured)
    }
}
