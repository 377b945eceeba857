//! Which probes of a peer were seen before.
//!
//! Every run of an agent numbers its probes to a peer. A window per run takes each number once, in any order within
//! [`WINDOW`]; the time in the probe bounds how many runs have to be remembered.

/// Numbers behind the highest that are still told apart.
const WINDOW: u64 = 64;
/// Runs of a peer remembered. A run is over when the agent restarts, and a newer one takes the place of the oldest.
const MAX_RUNS: usize = 4;
/// How far a probe's time may be from ours, in ms.
pub const TIME_WINDOW_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Run {
    id: u64,
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
    last_used_ms: u64,
}

/// Replay protection for one peer.
#[derive(Debug, Default)]
pub struct ReplayFilter {
    runs: Vec<Run>,
    /// The newest run that had to make room, and when. What was seen of it and of those before it is not known any more, so
    /// nothing of theirs is accepted until it would be too old in any case.
    forgotten: Option<(u64, u64)>,
}

impl ReplayFilter {
    /// Whether this probe is new and of our time; remembers it if so. All times in ms of party time.
    pub fn accept(&mut self, run: u64, counter: u64, sent_ms: u64, now_ms: u64) -> bool {
        if sent_ms.abs_diff(now_ms) > TIME_WINDOW_MS {
            return false;
        }
        if let Some(known) = self.runs.iter_mut().find(|known| known.id == run) {
            known.last_used_ms = now_ms;
            return known.accept(counter);
        }
        // A run not used for two windows can only be named by probes that are too old by now.
        self.runs
            .retain(|known| known.last_used_ms + 2 * TIME_WINDOW_MS > now_ms);
        self.forgotten.take_if(|(_, at)| *at + 2 * TIME_WINDOW_MS <= now_ms);
        if self.forgotten.is_some_and(|(newest, _)| run <= newest) {
            return false;
        }
        if self.runs.len() == MAX_RUNS {
            let oldest = self.runs.iter().map(|known| known.id).min();
            let Some(oldest) = oldest.filter(|oldest| *oldest < run) else {
                return false;
            };
            self.runs.retain(|known| known.id != oldest);
            self.forgotten = Some((oldest, now_ms));
        }
        self.runs.push(Run {
            id: run,
            highest: counter,
            seen: 1,
            last_used_ms: now_ms,
        });
        true
    }
}

impl Run {
    fn accept(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.seen = if ahead < WINDOW { (self.seen << ahead) | 1 } else { 1 };
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_probe_is_accepted_twice(
            probes in proptest::collection::vec((0u64..9, 0u64..200, 0u64..1000), 0..300),
        ) {
            let (mut filter, mut accepted) = (ReplayFilter::default(), BTreeSet::new());
            let mut now = 0;
            for (run, counter, later) in probes {
                now += later;
                // Each was sent once, however often it arrives.
                let sent = run * 10_000 + counter * 50;
                if filter.accept(run, counter, sent, now) {
                    prop_assert!(accepted.insert((run, counter)));
                }
            }
        }

        #[test]
        fn probes_in_order_are_all_accepted(start in 0u64..1 << 40, count in 0u64..200) {
            let mut filter = ReplayFilter::default();
            for counter in start..start + count {
                prop_assert!(filter.accept(7, counter, 1000, 1000));
            }
        }
    }

    #[test]
    fn old_and_future_probes_are_refused() {
        let mut filter = ReplayFilter::default();
        assert!(!filter.accept(1, 1, 0, TIME_WINDOW_MS + 1));
        assert!(!filter.accept(1, 1, TIME_WINDOW_MS + 1, 0));
        assert!(filter.accept(1, 1, 0, TIME_WINDOW_MS));
    }

    #[test]
    fn a_peer_that_restarts_over_and_over_is_heard_and_its_old_runs_are_not() {
        let mut filter = ReplayFilter::default();
        let runs = 3 * MAX_RUNS as u64;
        for run in 1..=runs {
            assert!(filter.accept(run, 0, 1000, 1000), "run {run}");
        }
        for run in 0..=runs {
            assert!(!filter.accept(run, 0, 1000, 1000), "run {run} again");
        }
        // A clock that was set back starts runs that look old; nothing of before can be replayed by then.
        let later = 1001 + 2 * TIME_WINDOW_MS;
        assert!(filter.accept(1, 0, later, later));
    }
}
