//! What was bridged lately: games send one discovery packet many times, out of every adapter and to every broadcast address.
//!
//! A duplicate is what comes a second time by another way, or by the same way at once. By the same way a little later it is a
//! game that asks or announces itself again, and passes: whoever presses "refresh" means it.
//!
//! 100,000 packets in five seconds cannot be told apart in 64 KiB with one mistake in a thousand by a filter that keeps them all
//! (that takes 10 bits for each, so 122 KiB); and remembering what a member may not send anyway is of no use. So this keeps the
//! latest of each bucket, with a fingerprint of 16 bits: a packet is taken for another one with a probability of 8 in 65,536 at
//! most, and what is pushed out too early is bridged twice.

use std::time::{Duration, Instant};

/// How long a packet is remembered.
pub const WINDOW: Duration = Duration::from_secs(5);
/// By the same way, what follows sooner is a duplicate.
pub const AT_ONCE: Duration = Duration::from_millis(250);
const BUCKETS: usize = 2048;
const SLOTS: usize = 8;
/// Steps in which age is counted. Ten bits of them are 10.24 s.
const STEP: Duration = Duration::from_millis(10);
const TIMES: u32 = 1 << 10;
const WAYS: u32 = 1 << 6;
/// Fingerprint, time and way; zero is empty.
type Slot = u32;

/// 64 KiB, whatever happens.
pub struct Seen {
    buckets: Box<[[Slot; SLOTS]; BUCKETS]>,
    epoch: Option<Instant>,
    swept: Option<Instant>,
    /// Threads take the time before they take their turn.
    latest: Option<Instant>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            buckets: Box::new([[0; SLOTS]; BUCKETS]),
            epoch: None,
            swept: None,
            latest: None,
        }
    }
}

impl Seen {
    /// Whether this was seen lately. `content` is a hash of what makes it the same packet, `way` of where it came along.
    pub fn is_duplicate(&mut self, content: u64, way: u64, now: Instant) -> bool {
        let now = self.forward(now);
        self.sweep(now);
        let time = self.time(now);
        let (bucket, print) = place(content);
        self.buckets[bucket]
            .iter()
            .filter(|slot| **slot >> 16 == print)
            .any(|slot| {
                let age = STEP * (time.wrapping_sub(*slot >> 6) % TIMES);
                let same_way = *slot % WAYS == way_of(way);
                age < if same_way { AT_ONCE } else { WINDOW }
            })
    }

    /// Remembers it.
    pub fn insert(&mut self, content: u64, way: u64, now: Instant) {
        let now = self.forward(now);
        self.sweep(now);
        let time = self.time(now);
        let (bucket, print) = place(content);
        let age = |slot: Slot| match slot {
            0 => u32::MAX,
            slot => time.wrapping_sub(slot >> 6) % TIMES,
        };
        let slots = &mut self.buckets[bucket];
        let known = slots.iter().position(|slot| slot >> 16 == print);
        let oldest = || (0..SLOTS).max_by_key(|at| age(slots[*at]));
        let at = known.or_else(oldest).unwrap_or_default();
        slots[at] = print << 16 | time << 6 | way_of(way);
    }

    fn forward(&mut self, now: Instant) -> Instant {
        *self.latest.insert(self.latest.map_or(now, |latest| latest.max(now)))
    }

    /// Forgets what is old before the clock of ten bits comes round.
    fn sweep(&mut self, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        let since = now.saturating_duration_since(swept);
        if since < WINDOW {
            return;
        }
        let time = self.time(now);
        let everything = since >= 2 * WINDOW;
        for slot in self.buckets.as_flattened_mut() {
            let age = STEP * (time.wrapping_sub(*slot >> 6) % TIMES);
            if everything || age >= WINDOW {
                *slot = 0;
            }
        }
        self.swept = Some(now);
    }

    fn time(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        let steps = now.saturating_duration_since(epoch).as_millis() / STEP.as_millis();
        steps as u32 % TIMES
    }
}

/// Bucket and fingerprint, which is never zero.
fn place(content: u64) -> (usize, u32) {
    let bucket = (content as usize) % BUCKETS;
    let print = (content >> 48) as u32;
    (bucket, print.max(1))
}

fn way_of(way: u64) -> u32 {
    (way ^ way >> 17 ^ way >> 37) as u32 % WAYS
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use proptest::prelude::*;

    use super::*;

    fn hash(number: u64) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(number)
    }

    #[test]
    fn another_way_is_a_duplicate_for_five_seconds_and_the_same_way_for_a_moment() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!seen.is_duplicate(hash(1), 0, at(0)));
        seen.insert(hash(1), 0, at(0));
        assert!(seen.is_duplicate(hash(1), 0, at(240)));
        assert!(!seen.is_duplicate(hash(1), 0, at(260)));
        assert!(seen.is_duplicate(hash(1), 1, at(4980)));
        assert!(!seen.is_duplicate(hash(1), 1, at(5010)));
        assert!(!seen.is_duplicate(hash(2), 0, at(0)));
    }

    #[test]
    fn what_another_thread_saw_a_moment_earlier_is_a_duplicate_too() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        seen.insert(hash(1), 0, start + Duration::from_millis(500));
        assert!(seen.is_duplicate(hash(1), 1, start + Duration::from_millis(470)));
    }

    #[test]
    fn memory_is_constant_and_mistakes_are_rare_at_100_000_packets_in_the_window() {
        assert_eq!(size_of::<[[Slot; SLOTS]; BUCKETS]>(), 64 * 1024);
        let (mut seen, start) = (Seen::default(), Instant::now());
        let mut mistakes = 0;
        for number in 0..100_000u32 {
            let now = start + WINDOW.mul_f64(f64::from(number) / 100_000.0);
            let content = hash(u64::from(number));
            mistakes += u32::from(seen.is_duplicate(content, 0, now));
            seen.insert(content, 1, now);
        }
        assert!(mistakes <= 100, "{mistakes}");
    }

    #[test]
    fn what_is_old_never_looks_young() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        for second in 0..600 {
            let now = start + Duration::from_secs(second) * 6;
            assert!(!seen.is_duplicate(hash(9), 1, now), "{second}");
            seen.insert(hash(9), 0, now);
        }
    }

    proptest! {
        #[test]
        fn what_was_inserted_is_found_within_the_window(
            numbers in proptest::collection::vec(0u64..50, 1..200), pause in 0u64..25,
        ) {
            let (mut seen, start) = (Seen::default(), Instant::now());
            for (step, number) in numbers.iter().enumerate() {
                let now = start + Duration::from_millis(pause * step as u64);
                seen.insert(hash(*number), 3, now);
                let within = (WINDOW - STEP * 2).as_millis() as u64 / pause.max(1);
                let since = numbers[..=step].iter().rev().take(within as usize);
                for earlier in since {
                    prop_assert!(seen.is_duplicate(hash(*earlier), 4, now));
                }
            }
        }
    }
}
