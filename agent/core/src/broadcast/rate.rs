//! How many packets to everybody a member may send.

use std::time::Instant;

/// Packets a second in the long run. The busiest discovery is a scan of some dozen ports when a player presses a button; games that
/// announce themselves do so a few times a second.
pub const PER_SECOND: f64 = 128.0;
/// Packets at once.
pub const BURST: f64 = 256.0;

/// A token bucket. What belongs to a datagram already let through passes and is owed.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Packets fewer than [`BURST`] that may go.
    used: f64,
    at: Option<Instant>,
}

impl Rate {
    /// Whether one more may go; counts it if so.
    pub fn allow(&mut self, now: Instant) -> bool {
        let elapsed = self.at.replace(now).map(|at| now.saturating_duration_since(at));
        self.used = (self.used - elapsed.map_or(0.0, |time| time.as_secs_f64() * PER_SECOND)).max(0.0);
        if self.used + 1.0 > BURST {
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
        let (mut rate, start) = (Rate::default(), Instant::now());
        let passed = (0..10_000).filter(|ms| rate.allow(start + Duration::from_millis(*ms)));
        assert_eq!(passed.count(), 256 + 1279);
    }

    #[test]
    fn what_was_owed_is_paid_first() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert!(rate.allow(start));
        (0..511).for_each(|_| rate.owe());
        assert!(!rate.allow(start + Duration::from_secs(1)));
        assert!(rate.allow(start + Duration::from_secs(3)));
    }
}
