//! What a link does to each frame.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Longest time a frame waits for a slow link before it is dropped.
const QUEUE_LIMIT: Duration = Duration::from_millis(50);
/// Frames kept as spare buffers: what 200 Mbit/s keeps in flight during 50 ms.
const SPARE_FRAMES: usize = 1024;

/// How a link behaves in one direction. Percentages are 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkModel {
    pub delay: Duration,
    /// Added at random, uniform from 0; the order stays.
    pub jitter: Duration,
    pub loss: f64,
    /// Two-state loss: chance per frame that a bad spell begins and that it ends. Everything in it is lost.
    pub burst: Option<(f64, f64)>,
    pub duplicate: f64,
    /// Frames that skip the delay and so overtake.
    pub reorder: f64,
    pub rate_mbit: Option<f64>,
}

/// What happened to the frames of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub arrived: u64,
    pub lost: u64,
    /// Dropped because the queue of a slow link was full.
    pub overflowed: u64,
    pub duplicated: u64,
    pub delivered: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Direction {
    model: LinkModel,
    counts: Counts,
    random: u64,
    in_bad_spell: bool,
    last_due: Option<Instant>,
    wire_free: Option<Instant>,
    sequence: u64,
    waiting: BinaryHeap<Reverse<Waiting>>,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    sequence: u64,
    frame: Vec<u8>,
}

impl Direction {
    /// An idle link. The same seed gives the same luck.
    pub fn new(model: LinkModel, seed: u64) -> Self {
        Self {
            model,
            counts: Counts::default(),
            random: seed | 1,
            in_bad_spell: false,
            last_due: None,
            wire_free: None,
            sequence: 0,
            waiting: BinaryHeap::new(),
            spare: Vec::new(),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A frame entered the link.
    pub fn push(&mut self, frame: &[u8], now: Instant) {
        if self.is_lost() {
            self.counts.arrived += 1;
            self.counts.lost += 1;
            return;
        }
        self.push_surely(frame, now);
    }

    /// A frame that loss at random does not touch entered the link.
    pub fn push_surely(&mut self, frame: &[u8], now: Instant) {
        self.counts.arrived += 1;
        let Some(sent) = self.serialise(frame.len(), now) else {
            self.counts.overflowed += 1;
            return;
        };
        let due = if self.chance(self.model.reorder) {
            sent
        } else {
            let due = sent + self.model.delay + self.model.jitter.mul_f64(self.fraction());
            let due = self.last_due.map_or(due, |last| last.max(due));
            self.last_due = Some(due);
            due
        };
        self.enqueue(frame, due);
        if self.chance(self.model.duplicate) {
            self.counts.duplicated += 1;
            self.enqueue(frame, due);
        }
    }

    /// When the next frame comes out.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }

    /// The next frame that is due. Give it back with [`Direction::recycle`] when done to save allocations.
    pub fn pop_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(waiting) = self.waiting.pop()?;
        self.counts.delivered += 1;
        Some(waiting.frame)
    }

    /// Takes a buffer back.
    pub fn recycle(&mut self, frame: Vec<u8>) {
        if self.spare.len() < SPARE_FRAMES {
            self.spare.push(frame);
        }
    }

    fn enqueue(&mut self, frame: &[u8], due: Instant) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        self.sequence += 1;
        self.waiting.push(Reverse(Waiting {
            due,
            sequence: self.sequence,
            frame: buffer,
        }));
    }

    fn is_lost(&mut self) -> bool {
        if let Some((begins, ends)) = self.model.burst {
            self.in_bad_spell = if self.in_bad_spell {
                !self.chance(ends)
            } else {
                self.chance(begins)
            };
            if self.in_bad_spell {
                return true;
            }
        }
        self.chance(self.model.loss)
    }

    /// When the last bit of a frame has left a link of this rate; none when it would have to wait too long.
    fn serialise(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.model.rate_mbit else {
            return Some(now);
        };
        let start = self.wire_free.map_or(now, |free| free.max(now));
        if start - now > QUEUE_LIMIT {
            return None;
        }
        let done = start + Duration::from_secs_f64(bytes as f64 * 8e-6 / rate);
        self.wire_free = Some(done);
        Some(done)
    }

    fn chance(&mut self, percent: f64) -> bool {
        percent > 0.0 && self.fraction() * 100.0 < percent
    }

    /// Uniform from 0 to 1 (splitmix64; nobody is protected by it).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn all(direction: &mut Direction, at: Instant) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| direction.pop_due(at)).collect()
    }

    #[test]
    fn a_frame_comes_out_when_its_delay_is_over() {
        let start = Instant::now();
        let mut link = Direction::new(
            LinkModel {
                delay: 10 * MS,
                ..LinkModel::default()
            },
            1,
        );
        link.push(b"x", start);
        assert_eq!(link.pop_due(start + 9 * MS), None);
        assert_eq!(link.next_due(), Some(start + 10 * MS));
        assert_eq!(link.pop_due(start + 10 * MS), Some(b"x".to_vec()));
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let start = Instant::now();
        let order = |model| {
            let mut link = Direction::new(model, 7);
            for n in 0..200_u8 {
                link.push(&[n], start + MS * u32::from(n) / 10);
            }
            all(&mut link, start + 1000 * MS)
        };
        let jittery = LinkModel {
            delay: 5 * MS,
            jitter: 20 * MS,
            ..LinkModel::default()
        };
        assert!(order(jittery).is_sorted());
        let shuffled = order(LinkModel {
            reorder: 10.0,
            ..jittery
        });
        assert_eq!(shuffled.len(), 200);
        assert!(!shuffled.is_sorted());
    }

    #[test]
    fn loss_bursts_and_duplicates_come_at_their_rate() {
        let start = Instant::now();
        let counts = |model| {
            let mut link = Direction::new(model, 3);
            for _ in 0..20_000 {
                link.push(b"x", start);
            }
            link.counts()
        };
        let none = LinkModel::default();
        let lossy = counts(LinkModel { loss: 5.0, ..none });
        assert!((900..1100).contains(&lossy.lost), "{lossy:?}");
        let bursty = counts(LinkModel {
            burst: Some((1.0, 25.0)),
            ..none
        });
        assert!((600..950).contains(&bursty.lost), "{bursty:?}");
        let doubled = counts(LinkModel { duplicate: 2.0, ..none });
        assert!((320..480).contains(&doubled.duplicated), "{doubled:?}");
    }

    #[test]
    fn a_slow_link_takes_its_time_and_drops_what_would_wait_too_long() {
        let start = Instant::now();
        let mut link = Direction::new(
            LinkModel {
                rate_mbit: Some(8.0),
                ..LinkModel::default()
            },
            1,
        );
        for _ in 0..100 {
            link.push(&[0; 1000], start);
        }
        // 1,000 bytes at 8 Mbit/s take 1 ms; the one that begins after 50 ms is the last.
        assert_eq!(all(&mut link, start + 10 * MS).len(), 10);
        assert_eq!(link.counts().overflowed, 49);
    }
}
