//! What waits for one member: bounded in frames, bytes and time, and the newest win.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_shared::ids::MemberId;

/// Longest a frame waits. A game's packet that is older than this is worth less than the next one.
pub const MAX_WAIT: Duration = Duration::from_millis(50);
/// Most frames that wait for one member: 50 ms of 10,000 a second.
pub const MAX_QUEUED_FRAMES: usize = 512;
/// Most bytes that wait for one member: 50 ms of 100 Mbit/s.
pub const MAX_QUEUED_BYTES: usize = 640 * 1024;

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Bytes,
    pub(super) from: MemberId,
    pub(super) since: Instant,
    /// Whether the egress rate was charged for it already.
    pub(super) paid: bool,
}

/// Drop-oldest queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame; gives how many older ones had to go.
    pub(super) fn push(&mut self, waiting: Waiting) -> usize {
        let mut dropped = 0;
        while self.frames.len() >= MAX_QUEUED_FRAMES
            || (self.bytes + waiting.frame.len() > MAX_QUEUED_BYTES && !self.frames.is_empty())
        {
            self.pop();
            dropped += 1;
        }
        self.bytes += waiting.frame.len();
        self.frames.push_back(waiting);
        dropped
    }

    /// Puts back what was just taken out.
    pub(super) fn put_back(&mut self, waiting: Waiting) {
        self.bytes += waiting.frame.len();
        self.frames.push_front(waiting);
    }

    /// Removes what has waited too long; gives how many.
    pub(super) fn drop_stale(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        while let Some(oldest) = self.frames.front()
            && now.saturating_duration_since(oldest.since) > MAX_WAIT
        {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    /// Keeps only what came from those who are `present`; gives how many frames had to go.
    pub(super) fn keep_from(&mut self, present: impl Fn(MemberId) -> bool) -> usize {
        let before = self.frames.len();
        self.frames.retain(|waiting| present(waiting.from));
        self.bytes = self.frames.iter().map(|waiting| waiting.frame.len()).sum();
        before - self.frames.len()
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.frames.pop_front()?;
        self.bytes -= waiting.frame.len();
        Some(waiting)
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, since: Instant) -> Waiting {
        Waiting {
            frame: Bytes::from(vec![0; length]),
            from: MemberId(1),
            since,
            paid: false,
        }
    }

    #[test]
    fn the_oldest_goes_first() {
        let start = Instant::now();
        let mut queue = Queue::default();
        for number in 0..=MAX_QUEUED_FRAMES {
            let dropped = queue.push(frame(number, start));
            assert_eq!(dropped, usize::from(number == MAX_QUEUED_FRAMES));
        }
        assert_eq!(queue.pop().map(|waiting| waiting.frame.len()), Some(1));
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(pushes in proptest::collection::vec((0usize..2100, 0u64..3), 1..2000)) {
            let mut queue = Queue::default();
            let mut now = Instant::now();
            for (length, wait) in pushes {
                now += Duration::from_millis(wait);
                queue.push(frame(length, now));
                queue.drop_stale(now);
                prop_assert!(queue.len() <= MAX_QUEUED_FRAMES && queue.bytes <= MAX_QUEUED_BYTES);
                prop_assert_eq!(queue.bytes, queue.frames.iter().map(|waiting| waiting.frame.len()).sum::<usize>());
                prop_assert!(queue.frames.iter().all(|waiting| now - waiting.since <= MAX_WAIT));
            }
        }
    }
}
