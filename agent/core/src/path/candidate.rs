//! One route to a peer: what was asked over it, what was answered, how fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lanrage_shared::signal::{Candidate, CandidateKind};

use super::PathKind;
use super::failures::Failures;
use super::quality::{Meter, Quality};
use crate::batch::Route;
use crate::cache::Proven;

/// No more probes than this to one address within a second.
const MAX_PROBES_PER_SECOND: usize = 5;
/// A named address that does not answer is probed this long.
pub const PUNCH_TIME: Duration = Duration::from_secs(10);
/// When the probes of a punch are sent, after its start; every [`PUNCH_INTERVAL`] after the last. Early ones are close
/// together because the first one through decides how soon a game can start; one of the five a second stays free for
/// answering the peer's first probe with one of ours.
const PUNCH_SCHEDULE_MS: [u64; 4] = [0, 100, 300, 600];
const PUNCH_INTERVAL: Duration = Duration::from_millis(300);
/// Probes closer together than this repeat a question: how many of them are lost says how often it was repeated, not how much
/// the path loses.
const REPEATED_WITHIN: Duration = Duration::from_millis(900);
/// Pauses after a relay said that the peer has no session with it; they double.
const FIRST_REFUSAL: Duration = Duration::from_secs(1);
const LONGEST_REFUSAL: Duration = Duration::from_secs(30);
/// An answer later than this is taken for lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Where a peer was seen, and answered, is of no use any more after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Punches in a row that may bring no answer before an address is let be for a while: the peer's side of the first may have come
/// too late.
const FREE_PUNCHES: u32 = 1;
/// Let be until so long before the pause is over: both sides of a pair begin theirs at about the same time, not at the same.
const PUNCH_SLACK: Duration = Duration::from_secs(5);
/// Times a path in use may fall silent, or be left for a relay, before others are preferred to it for a while.
const FREE_FAILINGS: u32 = 2;

/// A route under test or in use.
#[derive(Debug)]
pub struct CandidatePath {
    pub kind: PathKind,
    pub route: Route,
    /// What to expect before it answered; of a relay, both of whose sessions are known, this is enough to use it.
    expected_rtt_ms: Option<f64>,
    /// What the load of a relay counts as when it is compared with another.
    pub load_ms: f64,
    meter: Meter,
    /// When it last answered a probe.
    pub last_answer: Option<Instant>,
    punch_started: Instant,
    punch_sent: usize,
    /// Since when it is punched, until that comes to its end: naming it again in the middle makes it one long punch.
    punched_since: Option<Instant>,
    /// Punches that brought no answer, and times it was not good enough in use.
    in_vain: Failures,
    failings: Failures,
    /// When it last answered in its life, however it has behaved since.
    worked_at: Option<Instant>,
    /// How often in a row the relay said that the peer has no session with it.
    refusals: u32,
    /// Sent and not answered yet, oldest first.
    outstanding: VecDeque<Sent>,
    /// Times of the latest probes, oldest first.
    recent: VecDeque<Instant>,
    /// When it was first probed since its last answer.
    asked_since: Option<Instant>,
    next_probe: Option<Instant>,
}

/// A probe under way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    transaction: u64,
    at: Instant,
    /// Whether what becomes of it counts for loss.
    counts: bool,
}

impl CandidatePath {
    /// A route to punch from `now` on.
    pub fn new(kind: PathKind, route: Route, now: Instant) -> Self {
        Self {
            kind,
            route,
            expected_rtt_ms: None,
            load_ms: 0.0,
            meter: Meter::default(),
            last_answer: None,
            punch_started: now,
            punch_sent: 0,
            punched_since: Some(now),
            in_vain: Failures::default(),
            failings: Failures::default(),
            worked_at: None,
            refusals: 0,
            outstanding: VecDeque::new(),
            recent: VecDeque::new(),
            asked_since: None,
            next_probe: Some(now),
        }
    }

    /// A route that may be used before it answered, and is asked at once whether it really works.
    pub fn expected(kind: PathKind, route: Route, rtt_ms: f64, now: Instant) -> Self {
        Self {
            expected_rtt_ms: Some(rtt_ms),
            ..Self::new(kind, route, now)
        }
    }

    /// What is expected of it changed. One that fell silent has to answer first.
    pub fn expect(&mut self, rtt_ms: f64) {
        if self.expected_rtt_ms.is_some() || self.last_answer.is_some() {
            self.expected_rtt_ms = Some(rtt_ms);
        }
    }

    /// Whether it may be used without having answered.
    pub fn is_expected_to_work(&self) -> bool {
        self.expected_rtt_ms.is_some()
    }

    /// Smoothed round-trip time in ms: measured, else expected.
    pub fn rtt_ms(&self) -> Option<f64> {
        self.meter.rtt_ms().or(self.expected_rtt_ms)
    }

    /// How good it is, once it answered.
    pub fn quality(&self) -> Option<Quality> {
        self.meter.quality()
    }

    /// What to remember of it, if it is an address that answered.
    pub fn proven(&self) -> Option<Proven> {
        let (PathKind::Direct(kind), Some(address)) = (self.kind, self.route.address()) else {
            return None;
        };
        let quality = self.quality()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float is cast with saturation, which is what is meant"
        )]
        let rtt_ms = quality.rtt_ms.round() as u16;
        Some(Proven {
            candidate: Candidate { kind, address },
            rtt_ms,
            score: quality.score,
        })
    }

    /// How many probes its quality rests on.
    pub fn probes(&self) -> usize {
        self.meter.probes()
    }

    /// Starts probing over, as when the peer named the address again.
    pub fn punch_again(&mut self, now: Instant) {
        self.punch_started = now;
        self.punch_sent = 0;
        self.punched_since.get_or_insert(now);
        self.next_probe = Some(now);
    }

    /// Asks for a probe at `at` at the latest.
    pub fn probe_by(&mut self, at: Instant) {
        self.next_probe = Some(self.next_probe.map_or(at, |next| next.min(at)));
    }

    /// When the next probe is due; none when this address is left alone.
    pub fn due(&self) -> Option<Instant> {
        let wanted = self.next_probe?;
        // The sixth probe of a second waits until the first is a second old.
        let allowed = match self.recent.front() {
            Some(oldest) if self.recent.len() == MAX_PROBES_PER_SECOND => *oldest + Duration::from_secs(1),
            _ => wanted,
        };
        Some(wanted.max(allowed))
    }

    /// Notes that a probe with this transaction id was sent. What comes next depends on whether the address ever answered:
    /// while punching the schedule goes on, afterwards the caller sets the pace.
    pub fn sent(&mut self, transaction: u64, now: Instant) {
        let is_late = |sent: &Sent| now.saturating_duration_since(sent.at) >= ANSWER_TIMEOUT;
        while let Some(sent) = self.outstanding.pop_front_if(|sent| is_late(sent)) {
            if self.last_answer.is_some() && sent.counts {
                self.meter.lost();
            }
        }
        self.outstanding.push_back(Sent {
            transaction,
            at: now,
            counts: self.last_probe().is_none_or(|last| now >= last + REPEATED_WITHIN),
        });
        self.recent.push_back(now);
        if self.recent.len() > MAX_PROBES_PER_SECOND {
            self.recent.pop_front();
        }
        self.asked_since.get_or_insert(now);
        self.punch_sent += 1;
        self.next_probe = if self.answered_since(self.punch_started) {
            None
        } else {
            let next = match PUNCH_SCHEDULE_MS.get(self.punch_sent) {
                Some(ms) => self.punch_started + Duration::from_millis(*ms),
                None => now + PUNCH_INTERVAL,
            };
            (next < self.punch_started + PUNCH_TIME).then_some(next.max(now))
        };
        let is_over = |since: Instant| self.next_probe.is_none() || now >= since + 2 * PUNCH_TIME;
        if self.punched_since.is_some_and(is_over) {
            self.in_vain.handle_failure(now);
            self.punched_since = self.next_probe.map(|_| now);
        }
    }

    /// Takes an answer. Gives whether it answered a probe of ours to this address.
    pub fn answered(&mut self, transaction: u64, now: Instant) -> bool {
        let Some(at) = self.outstanding.iter().position(|sent| sent.transaction == transaction) else {
            return false;
        };
        let Some(sent) = self.outstanding.remove(at) else {
            return false;
        };
        let rtt = now.saturating_duration_since(sent.at);
        if sent.counts {
            self.meter.answered(rtt);
        } else {
            self.meter.timed(rtt);
        }
        self.last_answer = Some(now);
        self.worked_at = Some(now);
        self.refusals = 0;
        self.punched_since = None;
        self.in_vain.clear();
        self.asked_since = None;
        self.next_probe = None;
        true
    }

    /// Whether it answered within the last `window`.
    pub fn answered_within(&self, window: Duration, now: Instant) -> bool {
        self.last_answer
            .is_some_and(|at| now.saturating_duration_since(at) <= window)
    }

    /// Whether nothing more is to be expected of it. For as long as its last probes count for how many there may be, it is not.
    pub fn is_spent(&self, now: Instant) -> bool {
        self.next_probe.is_none()
            && self.last_probe().is_none_or(|at| now >= at + Duration::from_secs(1))
            && !self.answered_within(ANSWER_TIMEOUT * 20, now)
            && now.saturating_duration_since(self.punch_started) > PUNCH_TIME
    }

    /// Whether it is worth being asked now and then when there is no way to the peer at all: the peer named it, or it answered
    /// not long ago. Where a peer was only seen is not, since each of its probes may be seen somewhere else.
    pub fn is_worth_seeking(&self, now: Instant) -> bool {
        let worked = |at: Instant| now.saturating_duration_since(at) < FORGOTTEN_AFTER;
        self.kind != PathKind::Direct(CandidateKind::Observed) || self.worked_at.is_some_and(worked)
    }

    /// Whether it was punched in vain so often that naming it again is no reason for another attempt yet.
    pub fn is_let_be(&self, now: Instant) -> bool {
        let until = self.in_vain.closed_until(FREE_PUNCHES);
        until.is_some_and(|until| now + PUNCH_SLACK < until)
    }

    /// Whether it was punched in vain not long ago.
    pub fn is_failing(&self, now: Instant) -> bool {
        self.in_vain.are_remembered(now)
    }

    /// It works, and yet a relay is better.
    pub fn handle_left(&mut self, now: Instant) {
        self.failings.handle_failure(now);
    }

    /// Whether it was left in use so often that any other way is preferred for now.
    pub fn is_unsteady(&self, now: Instant) -> bool {
        self.failings
            .closed_until(FREE_FAILINGS)
            .is_some_and(|until| now < until)
    }

    /// The network changed, or the peer's did: how it failed before says nothing any more.
    pub fn forgive(&mut self) {
        self.in_vain.clear();
        self.failings.clear();
    }

    /// When it last answered in its life.
    pub fn worked_at(&self) -> Option<Instant> {
        self.worked_at
    }

    /// The relay says that the peer has no session with it.
    pub fn refuse(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// When the relay said so last: how long to wait before it is asked again. The peer may be about to come back, and the longer
    /// it does not, the less so.
    pub fn refusal_pause(&self) -> Option<Duration> {
        let doublings = self.refusals.checked_sub(1)?;
        Some(LONGEST_REFUSAL.min(FIRST_REFUSAL * 2u32.saturating_pow(doublings.min(8))))
    }

    /// Probes on their way that may still be answered.
    pub fn unanswered(&self) -> usize {
        self.outstanding.len()
    }

    /// When it was first probed since its last answer.
    pub fn asked_since(&self) -> Option<Instant> {
        self.asked_since
    }

    /// When it was last probed.
    pub fn last_probe(&self) -> Option<Instant> {
        self.recent.back().copied()
    }

    /// It fell silent while in use: it has to prove itself again before it is chosen again.
    pub fn distrust(&mut self, now: Instant) {
        self.last_answer = None;
        self.expected_rtt_ms = None;
        self.meter = Meter::default();
        self.asked_since = None;
        self.punch_again(now);
    }

    fn answered_since(&self, start: Instant) -> bool {
        self.last_answer.is_some_and(|at| at >= start)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn path(now: Instant) -> CandidatePath {
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        CandidatePath::new(PathKind::Direct(CandidateKind::Mapped), address.into(), now)
    }

    #[test]
    fn no_more_than_five_probes_a_second_and_none_after_ten() {
        let start = Instant::now();
        let mut path = path(start);
        let mut sent: Vec<Instant> = vec![];
        while let Some(due) = path.due() {
            path.sent(sent.len() as u64, due);
            sent.push(due);
            if sent.len().is_multiple_of(3) {
                path.probe_by(due);
            }
            assert!(sent.len() < 100);
            if due > start + PUNCH_TIME {
                break;
            }
        }
        for window in sent.windows(6) {
            assert!(window[5] - window[0] >= Duration::from_secs(1));
        }
        assert!(*sent.last().unwrap() <= start + PUNCH_TIME + Duration::from_secs(1));
    }

    #[test]
    fn only_an_answer_to_a_probe_of_ours_counts() {
        let now = Instant::now();
        let mut path = path(now);
        path.sent(5, now);
        assert!(!path.answered(6, now));
        assert!(path.answered(5, now + Duration::from_millis(20)));
        assert!(!path.answered(5, now));
        assert_eq!(path.rtt_ms(), Some(20.0));
    }
}
