//! When a question is asked again, and when it is given up.

use std::time::{Duration, Instant};

/// When a question is asked again. Six attempts: with every fifth packet lost each way, all fail once in 500 times.
pub(super) const ATTEMPTS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(2250),
];
/// When nothing is expected any more.
pub(super) const GIVE_UP: Duration = Duration::from_secs(3);

/// How far a series of attempts has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    started: Instant,
    pub(super) made: usize,
}

impl Attempts {
    pub(super) fn new(now: Instant) -> Self {
        Self { started: now, made: 0 }
    }

    pub(super) fn next(self) -> Instant {
        self.started + ATTEMPTS.get(self.made).copied().unwrap_or(GIVE_UP)
    }

    pub(super) fn is_over(self, now: Instant) -> bool {
        now >= self.started + GIVE_UP
    }

    /// Whether an attempt is due; counts it as made.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.made < ATTEMPTS.len() && now >= self.next();
        self.made += usize::from(due);
        due
    }
}
