//! How many mappings guessing may cost a router.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// New mappings within a second. With a peer's candidates, of which there are 16 at most, a router never sees more than 64.
pub(super) const MAX_NEW_MAPPINGS: usize = 48;
const SPAN: Duration = Duration::from_secs(1);

/// Counts what was sent from or to a port for the first time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    recent: VecDeque<Instant>,
}

impl Budget {
    /// Whether `count` more are affordable; takes them if so.
    pub(super) fn take(&mut self, count: usize, now: Instant) -> bool {
        while self.recent.front().is_some_and(|at| *at + SPAN <= now) {
            self.recent.pop_front();
        }
        let affordable = self.recent.len() + count <= MAX_NEW_MAPPINGS;
        if affordable {
            self.recent.extend(std::iter::repeat_n(now, count));
        }
        affordable
    }
}
