//! Whether the other end of a connection still answers.

use std::time::{Duration, Instant};

/// Silence after which a connection is doubted: well above a lost packet's repetition, well below what a player waits for.
const PATIENCE: Duration = Duration::from_millis(1500);
/// The same when there is a reason to doubt it.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);
/// A far relay gets this many round trips at least.
const ROUND_TRIPS: u32 = 3;
/// A silence that another connection does not end has another reason, so patience doubles up to this.
const MAX_PATIENCE: Duration = Duration::from_secs(24);

/// What went over a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What should be answered in some way.
    pub sent: u64,
    pub heard: u64,
}

/// Watches one connection after another to the same place. Who has nothing to say is not expected to be answered.
#[derive(Debug, Default)]
pub struct Silence {
    last: Counts,
    since: Option<Instant>,
    doubted: bool,
    /// Connections in a row that were silent from the first moment.
    in_vain: u32,
}

impl Silence {
    /// Another connection is watched from now on.
    pub fn handle_connected(&mut self, counts: Counts) {
        self.in_vain += 1;
        self.last = counts;
        self.since = None;
        self.doubted = false;
    }

    /// Wanted a few times a second.
    pub fn handle_look(&mut self, counts: Counts, now: Instant) {
        if counts.heard != self.last.heard {
            self.since = None;
            self.doubted = false;
            self.in_vain = 0;
        } else if counts.sent != self.last.sent {
            self.since.get_or_insert(now);
        }
        self.last = counts;
    }

    /// The network is another one, and the other end was just asked whether it is still there.
    pub fn handle_doubt(&mut self, now: Instant) {
        self.since = Some(now);
        self.doubted = true;
        self.in_vain = 0;
    }

    /// Whether the other end has been silent for too long for one this far away.
    pub fn is_over(&self, rtt: Duration, now: Instant) -> bool {
        let patience = if self.doubted { SHORT_PATIENCE } else { PATIENCE };
        let patience = patience.max(rtt * ROUND_TRIPS) * 2u32.pow(self.in_vain.saturating_sub(1).min(8));
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= patience.min(MAX_PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(20);

    fn connected() -> (Silence, Instant) {
        let mut silence = Silence::default();
        silence.handle_connected(Counts::default());
        (silence, Instant::now())
    }

    fn counts(sent: u64, heard: u64) -> Counts {
        Counts { sent, heard }
    }

    #[test]
    fn an_idle_connection_is_not_silent() {
        let (mut silence, now) = connected();
        silence.handle_look(counts(5, 5), now);
        silence.handle_look(counts(5, 5), now + PATIENCE * 10);
        assert!(!silence.is_over(RTT, now + PATIENCE * 10));
    }

    #[test]
    fn what_is_said_and_not_answered_counts_from_when_it_was_said_first() {
        let (mut silence, now) = connected();
        silence.handle_look(counts(1, 0), now);
        silence.handle_look(counts(9, 0), now + PATIENCE / 2);
        assert!(!silence.is_over(RTT, now + PATIENCE / 2));
        assert!(silence.is_over(RTT, now + PATIENCE));
        assert!(!silence.is_over(PATIENCE, now + PATIENCE), "a far one has more time");
        silence.handle_look(counts(9, 1), now + PATIENCE);
        assert!(!silence.is_over(RTT, now + PATIENCE));
    }

    #[test]
    fn on_another_network_less_silence_is_enough() {
        let (mut silence, now) = connected();
        silence.handle_doubt(now);
        assert!(!silence.is_over(RTT, now));
        assert!(silence.is_over(RTT, now + SHORT_PATIENCE));
    }

    #[test]
    fn connections_that_do_not_help_are_made_less_and_less_often() {
        let (mut silence, mut now) = connected();
        let mut waits = Vec::new();
        for sent in 1..7 {
            let since = now;
            silence.handle_look(counts(sent, 0), now);
            while !silence.is_over(RTT, now) {
                now += Duration::from_millis(100);
            }
            waits.push(now.duration_since(since).as_millis());
            silence.handle_connected(counts(sent, 0));
        }
        assert_eq!(waits, [1500, 3000, 6000, 12_000, 24_000, 24_000]);
        silence.handle_look(counts(6, 1), now);
        silence.handle_look(counts(7, 1), now);
        assert!(silence.is_over(RTT, now + PATIENCE));
    }
}
