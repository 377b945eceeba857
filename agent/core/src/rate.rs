//! How much of something may happen in a time.

use std::time::Instant;

/// A token bucket: so many a second in the long run, so many at once. What belongs to something already let through passes and is
/// owed.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    burst: f64,
    used: f64,
    at: Option<Instant>,
}

impl Rate {
    /// A full bucket.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self {
            per_second,
            burst,
            used: 0.0,
            at: None,
        }
    }

    /// Whether one more may go; counts it if so.
    pub fn allow(&mut self, now: Instant) -> bool {
        let elapsed = self.at.map(|at| now.saturating_duration_since(at));
        self.at = self.at.max(Some(now));
        self.used = (self.used - elapsed.map_or(0.0, |time| time.as_secs_f64() * self.per_second)).max(0.0);
        if self.used + 1.0 > self.burst {
            return false;
        }
        self.used += 1.0;
        true
    }

    /// Counts one more that has to go.
    pub fn owe(&mut self) {
        self.used += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_storm_is_cut_to_the_burst_and_the_rate() {
        let (mut rate, start) = (Rate::new(128.0, 256.0), Instant::now());
        let passed = (0..10_000).filter(|ms| rate.allow(start + Duration::from_millis(*ms)));
        assert_eq!(passed.count(), 256 + 1279);
    }

    #[test]
    fn what_was_owed_is_paid_first_and_time_that_goes_back_gives_nothing() {
        let (mut rate, start) = (Rate::new(128.0, 256.0), Instant::now());
        assert!(rate.allow(start));
        (0..511).for_each(|_| rate.owe());
        assert!(!rate.allow(start + Duration::from_secs(1)));
        assert!(!rate.allow(start));
        assert!(!rate.allow(start + Duration::from_secs(1)));
        assert!(rate.allow(start + Duration::from_secs(3)));
    }
}
