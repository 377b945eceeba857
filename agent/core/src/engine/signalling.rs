//! When to tell one peer where this PC can be reached.

use std::time::{Duration, Instant};

use lanrage_shared::signal::Signal;

/// Least time between two signals to one peer; changes within it go out together.
const SPACING: Duration = Duration::from_millis(50);
/// First wait before a peer that is online but has no direct path is asked again; doubles up to [`MAX_RETRY`], or, with
/// packets flowing through a relay meanwhile, up to [`MAX_RETRY_RELAYED`].
const FIRST_RETRY: Duration = Duration::from_secs(3);
const MAX_RETRY: Duration = Duration::from_secs(60);
const MAX_RETRY_RELAYED: Duration = Duration::from_secs(600);

/// How a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Not,
    Relayed,
    Direct,
}

/// One peer's exchange of signals.
#[derive(Debug, Default)]
pub struct Signalling {
    /// The peer's agent is connected to the control server.
    online: bool,
    due: Option<Due>,
    last_sent: Option<Instant>,
    retries: u32,
    /// Run and generation of the newest signal heard.
    newest: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    wants_answer: bool,
}

impl Signalling {
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// The control server says that the peer came or went.
    pub fn handle_online(&mut self, online: bool, now: Instant) {
        if online && !self.online {
            self.retries = 0;
            self.schedule(now, true);
        }
        if !online {
            self.due = None;
        }
        self.online = online;
    }

    /// Takes a signal; gives false when a newer one was heard before.
    pub fn handle_signal(&mut self, signal: &Signal, now: Instant) -> bool {
        let order = (signal.run, signal.generation);
        if self.newest.is_some_and(|newest| order <= newest) {
            return false;
        }
        self.newest = Some(order);
        // Who signals is there, whatever the server said last.
        self.online = true;
        if signal.wants_answer {
            self.schedule(now, false);
        }
        true
    }

    /// There is something the peer should hear at once: other addresses, or a guess.
    pub fn handle_news(&mut self, now: Instant) {
        if self.online {
            self.schedule(now, false);
        }
    }

    /// Everything is to be looked at anew.
    pub fn handle_refresh(&mut self, now: Instant) {
        if self.online {
            self.retries = 0;
            self.schedule(now, true);
        }
    }

    /// The direct path to the peer came or went.
    pub fn handle_path(&mut self, reach: Reach, now: Instant) {
        if reach == Reach::Direct {
            self.retries = 0;
        } else if self.online {
            self.schedule(now, true);
        }
    }

    /// The peer was lost altogether, or is reached again: attempts start over.
    pub fn try_anew(&mut self) {
        self.retries = 0;
    }

    /// When the next signal is due to a peer that is reached this way.
    pub fn due(&self, reach: Reach) -> Option<Instant> {
        let retry = self
            .last_sent
            .filter(|_| self.online && reach != Reach::Direct)
            .map(|at| at + self.retry_delay(reach));
        [self.due.map(|due| due.at), retry].into_iter().flatten().min()
    }

    /// Takes what is due. Gives whether the signal should ask for an answer.
    pub fn take_due(&mut self, reach: Reach, now: Instant) -> Option<bool> {
        if self.due(reach)? > now {
            return None;
        }
        let asked = self.due.take().filter(|due| due.at <= now);
        if asked.is_none() {
            self.retries += 1;
        }
        self.last_sent = Some(now);
        Some(asked.is_none_or(|due| due.wants_answer))
    }

    fn retry_delay(&self, reach: Reach) -> Duration {
        let longest = if reach == Reach::Relayed {
            MAX_RETRY_RELAYED
        } else {
            MAX_RETRY
        };
        longest.min(FIRST_RETRY * 2u32.saturating_pow(self.retries.min(8)))
    }

    fn schedule(&mut self, now: Instant, wants_answer: bool) {
        let earliest = self.last_sent.map_or(now, |at| now.max(at + SPACING));
        let wants_answer = wants_answer || self.due.is_some_and(|due| due.wants_answer);
        self.due = Some(Due {
            at: self.due.map_or(earliest, |due| due.at.min(earliest)),
            wants_answer,
        });
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::presence::NatSummary;

    use super::*;

    fn signal(run: u64, generation: u64, wants_answer: bool) -> Signal {
        Signal {
            generation,
            run,
            wants_answer,
            nat: NatSummary::default(),
            relays: vec![],
            candidates: vec![],
            guess: None,
        }
    }

    #[test]
    fn a_peer_that_comes_online_is_told_at_once_and_asked_for_an_answer() {
        let (mut signalling, now) = (Signalling::default(), Instant::now());
        signalling.handle_online(true, now);
        assert_eq!(signalling.take_due(Reach::Not, now), Some(true));
        assert_eq!(signalling.take_due(Reach::Not, now), None);
    }

    #[test]
    fn a_late_signal_changes_nothing_and_a_restarted_peer_is_heard() {
        let (mut signalling, now) = (Signalling::default(), Instant::now());
        assert!(signalling.handle_signal(&signal(1, 5, true), now));
        assert!(!signalling.handle_signal(&signal(1, 4, true), now));
        assert!(signalling.handle_signal(&signal(2, 1, false), now));
        assert_eq!(signalling.take_due(Reach::Not, now), Some(false));
    }

    #[test]
    fn retries_slow_down_and_stop_with_a_path() {
        let (mut signalling, mut now) = (Signalling::default(), Instant::now());
        signalling.handle_online(true, now);
        signalling.take_due(Reach::Not, now);
        let mut waits = vec![];
        for _ in 0..8 {
            let due = signalling.due(Reach::Not).unwrap();
            waits.push((due - now).as_secs());
            now = due;
            assert_eq!(signalling.take_due(Reach::Not, now), Some(true));
        }
        assert_eq!(waits, [3, 6, 12, 24, 48, 60, 60, 60]);
        assert_eq!(signalling.due(Reach::Direct), None);
    }
}
