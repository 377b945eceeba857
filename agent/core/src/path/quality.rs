//! How good a path is, from the answers to its probes.

use std::collections::VecDeque;
use std::time::Duration;

/// Round-trip times kept for jitter and trend.
const SAMPLES: usize = 10;
/// Probes whose fate counts for loss: at one a second, the last minute and a half.
const FATES: usize = 100;
/// Fates from which on a loss is worth a number.
const MIN_FATES: usize = 10;
/// Weight of the newest sample in the smoothed round-trip time.
const RTT_WEIGHT: f64 = 0.3;
/// What a player feels: at these a part of the score is used up.
const WORST_RTT_MS: f64 = 150.0;
const WORST_LOSS_PERCENT: f64 = 5.0;
const WORST_JITTER_MS: f64 = 50.0;
/// The later half of the samples is faster or slower than the earlier by this much when there is a trend.
const TREND: f64 = 0.05;

/// Where a path's round-trip time is heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    Improving,
    Stable,
    Degrading,
}

/// What is known of a path's quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Smoothed round-trip time in ms.
    pub rtt_ms: f64,
    /// Standard deviation of the latest round-trip times, in ms.
    pub jitter_ms: f64,
    /// Probes that were not answered, in percent of the latest.
    pub loss_percent: f64,
    /// From 0, unplayable, to 100: latency 40 %, loss 35 %, jitter 25 %.
    pub score: u8,
    pub trend: Trend,
}

/// A path's measurements.
#[derive(Debug, Default)]
pub struct Meter {
    rtt_ms: Option<f64>,
    samples: VecDeque<f64>,
    /// Whether each of the latest probes was answered, oldest first.
    fates: VecDeque<bool>,
}

impl Meter {
    /// A probe that says something about loss was answered after `rtt`.
    pub fn answered(&mut self, rtt: Duration) {
        push(&mut self.fates, true, FATES);
        self.timed(rtt);
    }

    /// Any probe was answered after `rtt`.
    pub fn timed(&mut self, rtt: Duration) {
        let sample = rtt.as_secs_f64() * 1000.0;
        push(&mut self.samples, sample, SAMPLES);
        // The median of three keeps one slow answer from moving anything.
        let latest: Vec<f64> = self.samples.iter().rev().take(3).copied().collect();
        let steady = match latest[..] {
            [a, b, c] => a.max(b).min(a.min(b).max(c)),
            _ => sample,
        };
        self.rtt_ms = Some(self.rtt_ms.map_or(steady, |rtt| rtt + RTT_WEIGHT * (steady - rtt)));
    }

    /// A probe that says something about loss was not answered.
    pub fn lost(&mut self) {
        push(&mut self.fates, false, FATES);
    }

    /// Smoothed round-trip time in ms.
    pub fn rtt_ms(&self) -> Option<f64> {
        self.rtt_ms
    }

    /// How many probes the numbers rest on.
    pub fn probes(&self) -> usize {
        self.fates.len()
    }

    /// The quality, once anything was answered.
    pub fn quality(&self) -> Option<Quality> {
        let rtt_ms = self.rtt_ms?;
        let jitter_ms = deviation(&self.samples);
        let lost = self.fates.iter().filter(|answered| !**answered).count();
        let loss_percent = if self.fates.len() < MIN_FATES {
            0.0
        } else {
            100.0 * lost as f64 / self.fates.len() as f64
        };
        let part = |value: f64, worst: f64| (1.0 - value / worst).clamp(0.0, 1.0);
        let score = 40.0 * part(rtt_ms, WORST_RTT_MS)
            + 35.0 * part(loss_percent, WORST_LOSS_PERCENT)
            + 25.0 * part(jitter_ms, WORST_JITTER_MS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "parts of 100 that sum up to at most 100"
        )]
        let score = score.round() as u8;
        Some(Quality {
            rtt_ms,
            jitter_ms,
            loss_percent,
            score,
            trend: self.trend(),
        })
    }

    fn trend(&self) -> Trend {
        if self.samples.len() < SAMPLES {
            return Trend::Stable;
        }
        let mean = |range: std::ops::Range<usize>| {
            let count = range.len() as f64;
            self.samples.range(range).sum::<f64>() / count
        };
        let (earlier, later) = (mean(0..SAMPLES / 2), mean(SAMPLES / 2..SAMPLES));
        if later > earlier * (1.0 + TREND) {
            Trend::Degrading
        } else if later < earlier * (1.0 - TREND) {
            Trend::Improving
        } else {
            Trend::Stable
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, longest: usize) {
    if queue.len() == longest {
        queue.pop_front();
    }
    queue.push_back(value);
}

fn deviation(samples: &VecDeque<f64>) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meter(rtts_ms: &[u64]) -> Meter {
        let mut meter = Meter::default();
        for ms in rtts_ms {
            meter.answered(Duration::from_millis(*ms));
        }
        meter
    }

    #[test]
    fn a_perfect_path_has_a_hundred_and_each_part_its_share() {
        assert_eq!(meter(&[0; 10]).quality().unwrap().score, 100);
        assert_eq!(meter(&[150; 10]).quality().unwrap().score, 60);
        let mut lossy = meter(&[0; 95]);
        (0..5).for_each(|_| lossy.lost());
        let quality = lossy.quality().unwrap();
        assert_eq!((quality.score, quality.loss_percent), (65, 5.0));
        let shaky = meter(&[0, 100, 0, 100, 0, 100, 0, 100, 0, 100]).quality().unwrap();
        assert_eq!(shaky.jitter_ms, 50.0);
        assert!(shaky.score <= 75);
    }

    #[test]
    fn one_slow_answer_moves_nothing() {
        let steady = meter(&[20, 20, 20, 500]).rtt_ms().unwrap();
        assert!((steady - 20.0).abs() < 0.01, "{steady}");
    }

    #[test]
    fn a_trend_needs_five_percent() {
        let rising: Vec<u64> = (20..30).collect();
        let falling: Vec<u64> = (20..30).rev().collect();
        assert_eq!(meter(&rising).quality().unwrap().trend, Trend::Degrading);
        assert_eq!(meter(&falling).quality().unwrap().trend, Trend::Improving);
        assert_eq!(
            meter(&[100, 101, 100, 101, 102, 100, 101, 102, 103, 102])
                .quality()
                .unwrap()
                .trend,
            Trend::Stable
        );
    }

    proptest! {
        #[test]
        fn a_score_is_a_percentage(rtts in prop::collection::vec(0u64..100_000, 1..30), losses in 0usize..300) {
            let mut meter = meter(&rtts);
            (0..losses).for_each(|_| meter.lost());
            let quality = meter.quality().unwrap();
            prop_assert!(quality.score <= 100);
            prop_assert!((0.0..=100.0).contains(&quality.loss_percent));
        }
    }
}
