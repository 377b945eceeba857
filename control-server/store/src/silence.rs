//! Whether the database answers, decided from answers and silence alone.
//!
//! A database that is slow answers somebody; one that hangs, or that no packet reaches, answers nobody. So a call is not given up
//! because it waits long, but because nobody was answered for [`PATIENCE`] while it waited. From then on the database is away
//! and every request is refused at once, but one each [`PROBE_EVERY`], which finds out when it is back.
//!
//! Whoever asks alone cannot tell slow from away: a commit that takes longer than that is given up, and may be done all the same.
//! So a database without a network has more patience ([`crate::Database::patience`]).

use std::time::Duration;

use tokio::time::Instant;

/// A database across a network that answered nobody for this long is away: with what a request takes besides, its refusal comes
/// within a second.
pub const PATIENCE: Duration = Duration::from_millis(800);
/// The same while something long is done, like clearing away what nobody needs.
pub const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// How often a database that is away is asked again.
pub const PROBE_EVERY: Duration = Duration::from_millis(500);

/// What is known of a database.
#[derive(Debug)]
pub(crate) struct Silence {
    last_answer: Instant,
    /// While it is away: when to ask it next.
    away: Option<Instant>,
}

impl Silence {
    /// Of a database that has just been opened.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            last_answer: now,
            away: None,
        }
    }

    /// Somebody wants to ask: whether it may.
    pub(crate) fn handle_request(&mut self, now: Instant) -> bool {
        match &mut self.away {
            None => true,
            Some(next) if *next <= now => {
                *next = now + PROBE_EVERY;
                true
            }
            Some(_) => false,
        }
    }

    /// The database answered somebody.
    pub(crate) fn handle_answer(&mut self, now: Instant) {
        self.last_answer = self.last_answer.max(now);
        self.away = None;
    }

    /// When to give up a call that `began` then, as far as is known now.
    pub(crate) fn give_up_at(&self, began: Instant, patience: Duration) -> Instant {
        self.last_answer.max(began) + patience
    }

    /// A call was given up. True when it is news that the database is away.
    pub(crate) fn handle_given_up(&mut self, now: Instant) -> bool {
        let is_news = self.away.is_none();
        self.away = Some(now + PROBE_EVERY);
        is_news
    }

    /// When the database last answered.
    pub(crate) fn last_answer(&self) -> Instant {
        self.last_answer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_call_is_given_up_when_nobody_was_answered_for_the_patience() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let began = start + ms(5000);
        assert_eq!(silence.give_up_at(began, PATIENCE), began + PATIENCE);
        silence.handle_answer(began + ms(700));
        assert_eq!(silence.give_up_at(began, PATIENCE), began + ms(700) + PATIENCE);
        assert_eq!(
            silence.give_up_at(began, LONG_PATIENCE),
            began + ms(700) + LONG_PATIENCE
        );
    }

    #[test]
    fn while_the_database_is_away_one_request_each_half_second_goes_through() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        assert!(silence.handle_request(start) && silence.handle_request(start));
        assert!(silence.handle_given_up(start));
        for (at, passes) in [
            (0, false),
            (499, false),
            (500, true),
            (501, false),
            (999, false),
            (1000, true),
        ] {
            assert_eq!(silence.handle_request(start + ms(at)), passes, "{at} ms");
        }
        assert!(!silence.handle_given_up(start + ms(1300)));
        assert!(!silence.handle_request(start + ms(1700)));
        assert!(silence.handle_request(start + ms(1800)));
        silence.handle_answer(start + ms(1801));
        assert!(silence.handle_request(start + ms(1801)) && silence.handle_request(start + ms(1801)));
        assert_eq!(silence.last_answer(), start + ms(1801));
    }

    #[derive(Debug, Clone)]
    enum Input {
        Request,
        Answer,
        GivenUp,
    }

    proptest! {
        #[test]
        fn whatever_happens_it_is_asked_again_and_an_answer_ends_it(
            inputs in proptest::collection::vec((0..400u64, prop_oneof![
                Just(Input::Request), Just(Input::Answer), Just(Input::GivenUp),
            ]), 0..60)
        ) {
            let mut now = Instant::now();
            let mut silence = Silence::new(now);
            for (wait, input) in inputs {
                now += ms(wait);
                match input {
                    Input::Request => { silence.handle_request(now); }
                    Input::Answer => {
                        silence.handle_answer(now);
                        prop_assert!(silence.handle_request(now));
                    }
                    Input::GivenUp => {
                        silence.handle_given_up(now);
                        prop_assert!(!silence.handle_request(now));
                    }
                }
            }
            prop_assert!(silence.handle_request(now + PROBE_EVERY));
        }
    }
}
