//! The relay's sending rate, shared by parties in deficit round robin (Shreedhar and Varghese, 1995) while it is used up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lanrage_shared::wire::relay::{HEADER_LEN, MAX_PAYLOAD};
use parking_lot::Mutex;

use super::directory::Shared;
use super::party::{Delivery, Party, Turn};
use super::rate::SharedBucket;

/// What may leave at once after a pause: what the kernel's own queue of the interface swallows.
const BURST: Duration = Duration::from_millis(5);
/// At a low rate at least this much may leave at once, in bytes, or the largest frame would never go.
const LEAST_BURST: u64 = 16 * 1024;
/// What a party may send in one turn, in bytes: the longest frame fits, and turns are short.
const QUANTUM: usize = 4 * 1024;
/// Longest frame there is, in bytes: a half with its number.
const LONGEST: usize = HEADER_LEN + size_of::<u16>() + MAX_PAYLOAD;

/// The rate, and the line of parties that wait for it.
#[derive(Debug)]
pub(super) struct Egress<P> {
    bucket: SharedBucket,
    waiting: AtomicUsize,
    line: Mutex<VecDeque<Place<P>>>,
}

#[derive(Debug)]
struct Place<P> {
    party: Arc<Mutex<Party<P>>>,
    deficit: usize,
    /// Whether its turn was cut short by the rate: then it goes on without a new quantum.
    begun: bool,
}

impl<P> Egress<P> {
    pub(super) fn new(bytes_per_s: u64, now: Instant) -> Self {
        let least = Duration::from_secs(LEAST_BURST)
            .checked_div(u32::try_from(bytes_per_s).unwrap_or(u32::MAX))
            .unwrap_or(BURST);
        Self {
            bucket: SharedBucket::new(bytes_per_s, BURST.max(least), now),
            waiting: AtomicUsize::new(0),
            line: Mutex::default(),
        }
    }

    /// Whether a frame may leave at once: never past those who wait.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.bucket.take(bytes, now)
    }

    /// Whether a frame may leave whose turn it is.
    pub(super) fn take_in_turn(&self, bytes: usize, now: Instant) -> bool {
        self.bucket.take(bytes, now)
    }

    /// Puts a party in the line. The caller has seen that it was not in it, under the party's lock, and has let go of that lock.
    pub(super) fn stand_in_line(&self, party: Arc<Mutex<Party<P>>>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.line.lock().push_back(Place {
            party,
            deficit: 0,
            begun: false,
        });
    }

    /// Lets go what the rate allows, party after party.
    pub(super) fn handle_timeout(&self, shared: &Shared<P>, now: Instant, out: &mut Vec<Delivery<P>>)
    where
        P: Clone,
    {
        loop {
            // Not held while a party is locked: parties are locked first elsewhere.
            let Some(mut place) = self.line.lock().pop_front() else {
                return;
            };
            if !place.begun {
                place.deficit += QUANTUM;
            }
            let mut party = place.party.lock();
            let turn = party.take_turn(&mut place.deficit, shared, now, out);
            party.in_line = turn != Turn::Done;
            drop(party);
            match turn {
                Turn::Done => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Turn::Spent => {
                    place.begun = false;
                    self.line.lock().push_back(place);
                }
                Turn::Egress => {
                    place.begun = true;
                    return self.line.lock().push_front(place);
                }
            }
        }
    }

    /// When there is room for the longest frame, if anybody waits.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        waits.then(|| self.bucket.ready_at(LONGEST))
    }
}
