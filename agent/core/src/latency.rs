//! How far a server outside the party is, looked at as often as is worth it: seldom while nothing changes, often while it gets
//! worse.

use std::time::{Duration, Instant};

use crate::path::{Meter, Quality, Trend};

/// Time between two looks while nothing changes, usually, and while there is something to see.
const CALM: Duration = Duration::from_secs(60);
const USUAL: Duration = Duration::from_secs(30);
const ALERT: Duration = Duration::from_secs(10);
/// Looks a trend needs.
const TREND_LOOKS: usize = 10;

/// One server.
#[derive(Debug, Default)]
pub struct Latency {
    meter: Meter,
    last_was_lost: bool,
    next: Option<Instant>,
}

impl Latency {
    /// Takes what three questions came to, and counts their median.
    pub fn handle_look(&mut self, answers: [Option<Duration>; 3], now: Instant) {
        let mut answered: Vec<Duration> = answers.into_iter().flatten().collect();
        answered.sort();
        match answered.get(answered.len() / 2) {
            Some(median) => self.meter.answered(*median),
            None => self.meter.lost(),
        }
        self.last_was_lost = answered.is_empty();
        self.next = Some(now + self.interval());
    }

    /// When to look again; none before the first look, which is due at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// What is known, once it has answered.
    pub fn quality(&self) -> Option<Quality> {
        self.meter.quality()
    }

    /// Whether the last look was answered.
    pub fn answers(&self) -> bool {
        self.next.is_some() && !self.last_was_lost
    }

    /// Time between looks, as things are.
    pub fn interval(&self) -> Duration {
        if self.last_was_lost || self.meter.probes() < TREND_LOOKS {
            return ALERT;
        }
        match self.meter.quality() {
            Some(quality) if quality.trend == Trend::Degrading => ALERT,
            Some(quality) if quality.trend == Trend::Stable && quality.loss_percent == 0.0 => CALM,
            _ => USUAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn looks(times: impl IntoIterator<Item = Option<u64>>) -> Latency {
        let mut latency = Latency::default();
        for ms in times {
            latency.handle_look([ms.map(Duration::from_millis); 3], Instant::now());
        }
        latency
    }

    #[test]
    fn it_is_looked_at_seldom_while_calm_and_often_when_it_gets_worse() {
        assert_eq!(looks([Some(20); 3]).interval(), ALERT);
        assert_eq!(looks([Some(20); 10]).interval(), CALM);
        assert_eq!(looks((0..10).map(|step| Some(20 + 5 * step))).interval(), ALERT);
        assert_eq!(looks((0..10).map(|step| Some(80 - 5 * step))).interval(), USUAL);
        assert_eq!(looks([Some(20); 10].into_iter().chain([None])).interval(), ALERT);
        assert_eq!(looks([None].into_iter().chain([Some(20); 12])).interval(), USUAL);
    }

    #[test]
    fn the_median_of_three_counts() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let mut latency = Latency::default();
        latency.handle_look([ms(500), ms(20), ms(10)], Instant::now());
        assert_eq!(latency.quality().unwrap().rtt_ms, 20.0);
        let mut one = Latency::default();
        one.handle_look([None, ms(30), None], Instant::now());
        assert_eq!((one.quality().unwrap().rtt_ms, one.answers()), (30.0, true));
        one.handle_look([None; 3], Instant::now());
        assert!(!one.answers() && one.quality().is_some());
    }

    proptest! {
        #[test]
        fn the_interval_is_one_of_three_and_the_next_look_follows_it(times: Vec<Option<u16>>) {
            let (mut latency, now) = (Latency::default(), Instant::now());
            for ms in times {
                latency.handle_look([ms.map(|ms| Duration::from_millis(ms.into())); 3], now);
                let interval = latency.interval();
                prop_assert!([CALM, USUAL, ALERT].contains(&interval));
                prop_assert_eq!(latency.poll_timeout(), Some(now + interval));
            }
        }
    }
}
