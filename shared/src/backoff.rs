//! When to come back to a server that went away.
//!
//! Full jitter: uniform between nothing and a bound that doubles. After an outage ten thousand agents come back spread
//! over the bound instead of in step.

use std::time::{Duration, Instant};

/// The first bound: most breaks are a moment's.
const BASE: Duration = Duration::from_millis(250);
/// The last bound: nobody waits longer than this for a server that is back.
const CAP: Duration = Duration::from_secs(15);
/// A connection that held this long starts over from [`BASE`]; one that breaks at once does not.
const STEADY: Duration = Duration::from_secs(30);

/// Counts failures in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    connected: Option<Instant>,
}

impl Backoff {
    /// The server was reached.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// An attempt failed or a connection broke. `random` is uniform over all values; the answer is how long to wait.
    pub fn handle_failure(&mut self, now: Instant, random: u32) -> Duration {
        if self
            .connected
            .take()
            .is_some_and(|since| now.duration_since(since) >= STEADY)
        {
            self.failures = 0;
        }
        let bound = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9)
            .map(|_| backoff.handle_failure(now, u32::MAX).as_millis())
            .collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
    }

    #[test]
    fn a_steady_connection_starts_over_and_a_flapping_one_does_not() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.handle_failure(now, 0);
        backoff.handle_connected(now);
        assert_eq!(
            backoff.handle_failure(now + Duration::from_secs(29), u32::MAX),
            BASE * 2
        );
        backoff.handle_connected(now);
        assert_eq!(backoff.handle_failure(now + STEADY, u32::MAX), BASE);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_cap(failures in 0..200u32, random: u32) {
            let now = Instant::now();
            let mut backoff = Backoff::default();
            for _ in 0..failures {
                backoff.handle_failure(now, 0);
            }
            prop_assert!(backoff.handle_failure(now, random) <= CAP);
        }
    }
}
