//! Token buckets, kept as the one moment at which they would be full again (the generic cell rate algorithm).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NANOS_PER_S: u128 = 1_000_000_000;

/// How long `units` take at `per_second`. Nothing passes at a rate of zero.
fn cost(units: usize, per_second: u64) -> Duration {
    let nanos = (units as u128 * NANOS_PER_S)
        .checked_div(u128::from(per_second))
        .unwrap_or(u128::from(u64::MAX));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A bucket of one owner.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    burst: Duration,
    full_at: Instant,
}

impl Bucket {
    /// Full, with room for what `burst` brings.
    pub(super) fn new(per_second: u64, burst: Duration, now: Instant) -> Self {
        Self {
            per_second,
            burst,
            full_at: now,
        }
    }

    /// Takes `units` out, all or none.
    pub(super) fn take(&mut self, units: usize, now: Instant) -> bool {
        let full_at = self.full_at.max(now).checked_add(cost(units, self.per_second));
        match full_at {
            Some(full_at) if full_at.duration_since(now) <= self.burst => {
                self.full_at = full_at;
                true
            }
            _ => false,
        }
    }
}

/// A bucket that many share without a lock.
#[derive(Debug)]
pub(super) struct SharedBucket {
    per_second: u64,
    burst_ns: u64,
    began: Instant,
    /// In ns since `began`.
    full_at: AtomicU64,
}

impl SharedBucket {
    /// Full, with room for what `burst` brings.
    pub(super) fn new(per_second: u64, burst: Duration, now: Instant) -> Self {
        Self {
            per_second,
            burst_ns: nanos(burst),
            began: now,
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes `units` out, all or none.
    pub(super) fn take(&self, units: usize, now: Instant) -> bool {
        let now = nanos(now.saturating_duration_since(self.began));
        let cost = nanos(cost(units, self.per_second));
        let taken = self
            .full_at
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let full_at = full_at.max(now).saturating_add(cost);
                (full_at - now <= self.burst_ns).then_some(full_at)
            });
        taken.is_ok()
    }

    /// When `units` can be taken.
    pub(super) fn ready_at(&self, units: usize) -> Instant {
        let needed = self
            .full_at
            .load(Ordering::Relaxed)
            .saturating_add(nanos(cost(units, self.per_second)));
        self.began + Duration::from_nanos(needed.saturating_sub(self.burst_ns))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BURST: Duration = Duration::from_millis(100);

    #[test]
    fn a_burst_passes_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, BURST, start);
        assert_eq!((0..1000).filter(|_| bucket.take(1, start)).count(), 100);
        let later = start + Duration::from_millis(10);
        assert_eq!((0..1000).filter(|_| bucket.take(1, later)).count(), 10);
    }

    #[test]
    fn the_shared_bucket_says_when_it_has_room_again() {
        let start = Instant::now();
        let bucket = SharedBucket::new(1000, BURST, start);
        while bucket.take(10, start) {}
        let ready = bucket.ready_at(10);
        assert_eq!(ready, start + Duration::from_millis(10));
        assert!(bucket.take(10, ready));
    }

    #[test]
    fn nothing_passes_at_a_rate_of_zero() {
        let now = Instant::now();
        assert!(!Bucket::new(0, BURST, now).take(1, now));
        assert!(!SharedBucket::new(0, BURST, now).take(1, now));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_pass(
            rate in 1u64..100_000, takes in proptest::collection::vec((1usize..2000, 0u64..20), 1..200),
        ) {
            let start = Instant::now();
            let (mut bucket, shared) = (Bucket::new(rate, BURST, start), SharedBucket::new(rate, BURST, start));
            let (mut now, mut taken) = (start, 0);
            for (units, wait) in takes {
                now += Duration::from_millis(wait);
                let passed = bucket.take(units, now);
                prop_assert_eq!(shared.take(units, now), passed);
                taken += if passed { units } else { 0 };
                let most = rate as f64 * (now.duration_since(start) + BURST).as_secs_f64();
                prop_assert!(taken as f64 <= most + 1.0, "{taken} of {most}");
            }
        }
    }
}
