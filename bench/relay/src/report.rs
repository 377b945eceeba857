//! The table, as Markdown.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::subject::Way;

/// What one count of pairs at one rate through one subject showed.
pub struct Outcome {
    pub way: Way,
    pub pairs: u16,
    /// Bytes of each payload.
    pub size: u16,
    pub seconds: f64,
    /// Payloads sent.
    pub sent: u64,
    /// CPU time of the process that passed them on.
    pub cpu_s: f64,
    /// CPU time of both ends of all pairs.
    pub load_cpu_s: f64,
    /// One value for each payload that came.
    pub latency_us: Histogram<u64>,
    pub kib_per_session: f64,
}

/// Prints a row for each outcome and, at the end, what the rows say about each other.
#[derive(Default)]
pub struct Report {
    /// Of the rows without a server that came last, at p50 and p99.
    straight_ms: BTreeMap<Way, [f64; 2]>,
    /// Payloads and CPU seconds, all rounds together.
    passed: BTreeMap<(Way, u16, u32), (u64, f64)>,
}

const COLUMNS: [&str; 15] = [
    "through",
    "pairs",
    "sent/s",
    "got/s",
    "Gbit/s",
    "lost %",
    "load",
    "CPU",
    "CPU s/GB",
    "k/s per core",
    "p50 ms",
    "p99 ms",
    "+p50",
    "+p99",
    "KiB/session",
];
const WIDTHS: [usize; COLUMNS.len()] = [13, 5, 7, 7, 6, 6, 5, 5, 8, 12, 7, 7, 6, 6, 11];

impl Outcome {
    fn got(&self) -> u64 {
        self.latency_us.len()
    }

    fn gigabytes(&self) -> f64 {
        self.got() as f64 * f64::from(self.size) / 1e9
    }

    fn ms(&self) -> [f64; 2] {
        [0.5, 0.99].map(|quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

impl Report {
    /// The head of the table.
    pub fn head(&self) -> String {
        let rule = WIDTHS.map(|width| "-".repeat(width - 1) + ":");
        format!("{}\n{}", row(&COLUMNS), row(&rule))
    }

    /// One row.
    pub fn add(&mut self, rate: u32, outcome: &Outcome) -> String {
        let ms = outcome.ms();
        let straight = outcome.way.straight() == outcome.way;
        if straight {
            self.straight_ms.insert(outcome.way, ms);
        }
        let key = (outcome.way, outcome.pairs, rate);
        let (passed, cpu_s) = self.passed.entry(key).or_default();
        *passed += outcome.got();
        *cpu_s += outcome.cpu_s;

        // What only a server has, and only what something got through says anything about.
        let server = |text: String| {
            if straight || outcome.got() == 0 {
                String::new()
            } else {
                text
            }
        };
        let added = |which: usize| match self.straight_ms.get(&outcome.way.straight()) {
            Some(straight_ms) => server(format!("{:.2}", ms[which] - straight_ms[which])),
            None => String::new(),
        };
        let lost = outcome.sent.saturating_sub(outcome.got()) as f64 * 100.0 / outcome.sent.max(1) as f64;
        row(&[
            outcome.way.label().to_owned(),
            outcome.pairs.to_string(),
            format!("{:.0}", outcome.sent as f64 / outcome.seconds),
            format!("{:.0}", outcome.got() as f64 / outcome.seconds),
            format!("{:.3}", outcome.gigabytes() * 8.0 / outcome.seconds),
            format!("{lost:.2}"),
            format!("{:.2}", outcome.load_cpu_s / outcome.seconds),
            server(format!("{:.2}", outcome.cpu_s / outcome.seconds)),
            server(format!("{:.2}", outcome.cpu_s / outcome.gigabytes())),
            server(format!("{:.0}", outcome.got() as f64 / outcome.cpu_s / 1000.0)),
            format!("{:.2}", ms[0]),
            format!("{:.2}", ms[1]),
            added(0),
            added(1),
            server(format!("{:.1}", outcome.kib_per_session)),
        ])
    }

    /// Our packets a second and core, by coturn's, all rounds together.
    pub fn ratios(&self) -> Vec<String> {
        let per_core = |(passed, cpu_s): &(u64, f64)| *passed as f64 / cpu_s;
        let ours = self
            .passed
            .iter()
            .filter(|((way, ..), _)| matches!(way, Way::Quic | Way::Tcp));
        ours.filter_map(|((way, pairs, rate), passed)| {
            let coturn = self.passed.get(&(Way::Coturn, *pairs, *rate))?;
            let ratio = per_core(passed) / per_core(coturn);
            Some(format!(
                "{pairs} pairs, {rate}/s: {} has {ratio:.2} times coturn's packets a second and core",
                way.label()
            ))
        })
        .collect()
    }
}

fn row<T: AsRef<str>>(cells: &[T; COLUMNS.len()]) -> String {
    let cells = cells.iter().zip(WIDTHS);
    let cells: Vec<String> = cells
        .map(|(cell, width)| format!("{:>width$}", cell.as_ref()))
        .collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(way: Way, latency_us: u64, cpu_s: f64) -> Outcome {
        let mut histogram = Histogram::new(3).unwrap();
        histogram.record_n(latency_us, 1000).unwrap();
        Outcome {
            way,
            pairs: 1,
            size: 1000,
            seconds: 1.0,
            sent: 1000,
            cpu_s,
            load_cpu_s: 1.0,
            latency_us: histogram,
            kib_per_session: 10.0,
        }
    }

    fn cell(row: &str, column: &str) -> String {
        let at = COLUMNS.iter().position(|name| *name == column).unwrap();
        row.split('|').nth(at + 1).unwrap().trim().to_owned()
    }

    #[test]
    fn what_a_server_adds_is_told_from_the_same_without_it() {
        let mut report = Report::default();
        report.add(1, &outcome(Way::Straight, 1000, 0.0));
        report.add(1, &outcome(Way::StraightQuic, 2000, 0.0));
        let ours = report.add(1, &outcome(Way::Quic, 2500, 1.0));
        assert_eq!(cell(&ours, "+p50"), "0.50");
        let coturn = report.add(1, &outcome(Way::Coturn, 2500, 1.0));
        assert_eq!(cell(&coturn, "+p50"), "1.50");
    }

    #[test]
    fn cpu_time_is_told_by_bytes_and_by_packets() {
        let mut report = Report::default();
        let ours = report.add(1, &outcome(Way::Quic, 100, 0.25));
        assert_eq!(cell(&ours, "CPU s/GB"), "250.00");
        assert_eq!(cell(&ours, "k/s per core"), "4");
        report.add(1, &outcome(Way::Coturn, 100, 0.5));
        assert_eq!(
            report.ratios(),
            ["1 pairs, 1/s: lanrage quic has 2.00 times coturn's packets a second and core"]
        );
    }
}
