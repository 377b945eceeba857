//! What failed is let be for a while: longer with every failure in a row.

use std::time::{Duration, Instant};

/// After the first failure that is not free; doubles with each.
const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(600);
/// A failure that was longer ago than this says nothing about the next.
const REMEMBERED: Duration = Duration::from_secs(1200);

/// Failures in a row.
#[derive(Debug, Default)]
pub struct Failures {
    count: u32,
    last: Option<Instant>,
}

impl Failures {
    /// One more.
    pub fn handle_failure(&mut self, now: Instant) {
        if !self.are_remembered(now) {
            self.count = 0;
        }
        self.count += 1;
        self.last = Some(now);
    }

    /// It works, or what was says nothing any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there were any lately.
    pub fn are_remembered(&self, now: Instant) -> bool {
        self.last.is_some_and(|at| now < at + REMEMBERED)
    }

    /// Until when to let it be, `free` failures having no consequence.
    pub fn closed_until(&self, free: u32) -> Option<Instant> {
        let doublings = self.count.checked_sub(free + 1)?;
        Some(self.last? + LONGEST.min(FIRST * 2u32.saturating_pow(doublings.min(8))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_ten_minutes_and_is_forgotten() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        failures.handle_failure(now);
        assert_eq!(failures.closed_until(1), None);
        let mut pauses = vec![];
        for _ in 0..7 {
            failures.handle_failure(now);
            let until = failures.closed_until(1).unwrap();
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
        now += REMEMBERED;
        failures.handle_failure(now);
        assert_eq!(failures.closed_until(1), None);
        assert_eq!(failures.closed_until(0), Some(now + FIRST));
    }
}
