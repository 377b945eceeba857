//! What became of connections before they were sessions, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use lanrage_relay_core::relay::Refusal;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It became a session.
    Welcomed,
    /// Its hello was refused.
    Refused(Refusal),
    /// It was asked to prove its address first.
    Retried,
    /// There were too many strangers, of its address or in all.
    TurnedAway,
    /// Its handshake failed, it said no hello in time, or what it said was none.
    Failed,
}

const OUTCOMES: usize = 4 + Refusal::ALL.len();

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Handshakes([AtomicU64; OUTCOMES]);

impl Outcome {
    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Welcomed, Self::Retried, Self::TurnedAway, Self::Failed]
            .into_iter()
            .chain(Refusal::ALL.into_iter().map(Self::Refused))
    }

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Welcomed => "welcomed",
            Self::Retried => "retried",
            Self::TurnedAway => "turned_away",
            Self::Failed => "failed",
            Self::Refused(refusal) => refusal.label(),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Welcomed => 0,
            Self::Retried => 1,
            Self::TurnedAway => 2,
            Self::Failed => 3,
            Self::Refused(refusal) => 4 + refusal as usize,
        }
    }
}

impl Handshakes {
    /// How many ended so.
    pub fn count_of(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()].load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.0[outcome.index()].fetch_add(1, Ordering::Relaxed);
        tracing::debug!(outcome = outcome.label(), "a handshake ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_count() {
        let handshakes = Handshakes::default();
        Outcome::all().for_each(|outcome| handshakes.count(outcome));
        assert!(Outcome::all().all(|outcome| handshakes.count_of(outcome) == 1));
        assert_eq!(Outcome::all().count(), OUTCOMES);
    }
}
