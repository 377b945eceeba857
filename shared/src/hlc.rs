//! A hybrid logical clock (Kulkarni et al., 2014): stamps that follow the wall clock and never run backwards, with the replica
//! that gave them as tie-break. A replica that sees another's stamp gives later ones from then on, so what follows from
//! something is stamped after it, however far the wall clocks are apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Low bits that count within a millisecond. A count that overflows goes on into the next one, which the wall clock catches up
/// with.
const COUNT_BITS: u32 = 16;

/// One run of a control server. Numbers are given out by the database and never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub u64);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a replica wrote something. No two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// 48 bits of milliseconds since the Unix epoch, 16 bits that count within one.
    pub time: u64,
    pub replica: ReplicaId,
}

impl Stamp {
    /// Milliseconds since the Unix epoch, as the replica saw them.
    pub fn ms(&self) -> u64 {
        self.time >> COUNT_BITS
    }
}

/// The first time that a stamp of this millisecond may have.
pub fn time_at(ms: u64) -> u64 {
    ms << COUNT_BITS
}

/// One replica's clock.
#[derive(Debug, Clone)]
pub struct Hlc {
    replica: ReplicaId,
    last: u64,
}

impl Hlc {
    /// The clock of a replica that has stamped nothing yet.
    pub fn new(replica: ReplicaId) -> Self {
        Self { replica, last: 0 }
    }

    /// Whose it is.
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// A stamp later than all that this clock has given or seen. `now_ms` is the wall clock.
    pub fn stamp(&mut self, now_ms: u64) -> Stamp {
        self.last = time_at(now_ms).max(self.last.saturating_add(1));
        Stamp {
            time: self.last,
            replica: self.replica,
        }
    }

    /// Takes note of another replica's stamp.
    pub fn receive(&mut self, seen: Stamp) {
        self.last = self.last.max(seen.time);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn stamps_follow_the_wall_clock_and_tell_it() {
        let mut clock = Hlc::new(ReplicaId(1));
        assert_eq!(clock.stamp(NOW_MS).ms(), NOW_MS);
        assert_eq!(clock.stamp(NOW_MS + 7).ms(), NOW_MS + 7);
    }

    #[test]
    fn an_answer_is_stamped_after_what_it_answers_however_far_the_clocks_are_apart() {
        let (mut ahead, mut behind) = (Hlc::new(ReplicaId(1)), Hlc::new(ReplicaId(2)));
        let said = ahead.stamp(NOW_MS + 300_000);
        assert!(behind.stamp(NOW_MS - 300_000) < said);
        behind.receive(said);
        let answer = behind.stamp(NOW_MS - 300_000);
        assert!(answer > said && answer.ms() == said.ms());
    }

    proptest! {
        #[test]
        fn stamps_grow_whatever_the_wall_clock_does(walls in prop::collection::vec(0..u64::from(u32::MAX), 1..200)) {
            let mut clock = Hlc::new(ReplicaId(1));
            let stamps: Vec<Stamp> = walls.into_iter().map(|wall| clock.stamp(wall)).collect();
            prop_assert!(stamps.is_sorted_by(|a, b| a < b));
        }
    }
}
