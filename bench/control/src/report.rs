//! Rows of a Markdown table, and goals that were missed.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use hdrhistogram::Histogram;

/// What one row of heartbeats showed.
pub struct Outcome {
    pub through: String,
    pub agents: u32,
    pub seconds: f64,
    /// Heartbeats, as the server counts them.
    pub taken: f64,
    /// What other members heard of them; answers of an empty server.
    pub told: f64,
    /// Streams that broke.
    pub lost: u64,
    /// Transactions that wrote what members said.
    pub writes: Option<f64>,
    pub cpu_s: f64,
    pub load_cpu_s: f64,
    pub latency_us: Histogram<u64>,
    pub kib_per_agent: f64,
}

const COLUMNS: [&str; 12] = [
    "through",
    "agents",
    "taken/s",
    "told/s",
    "CPU",
    "load CPU",
    "taken/CPU s",
    "p50 ms",
    "p99 ms",
    "taken/write",
    "KiB/agent",
    "lost",
];
const WIDTHS: [usize; COLUMNS.len()] = [8, 6, 7, 7, 5, 8, 11, 8, 8, 11, 9, 4];

impl Outcome {
    pub fn head() -> String {
        let dashes = WIDTHS.map(|width| "-".repeat(width));
        format!("{}\n{}", line(&COLUMNS.map(str::to_owned)), line(&dashes))
    }

    pub fn taken_per_s(&self) -> f64 {
        self.taken / self.seconds
    }

    /// Heartbeats for each write to the database. None when there was no write, or no database.
    pub fn per_write(&self) -> Option<f64> {
        self.writes
            .filter(|writes| *writes > 0.0)
            .map(|writes| self.taken / writes)
    }

    fn ms(&self, quantile: f64) -> String {
        ms(self.latency_us.value_at_quantile(quantile))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = [
            self.through.clone(),
            self.agents.to_string(),
            format!("{:.0}", self.taken_per_s()),
            format!("{:.0}", self.told / self.seconds),
            format!("{:.2}", self.cpu_s / self.seconds),
            format!("{:.2}", self.load_cpu_s / self.seconds),
            format!("{:.0}", self.taken / self.cpu_s),
            self.ms(0.5),
            self.ms(0.99),
            self.per_write().map_or_else(String::new, |ratio| format!("{ratio:.0}")),
            format!("{:.1}", self.kib_per_agent),
            self.lost.to_string(),
        ];
        f.write_str(&line(&row))
    }
}

fn line(cells: &[String; COLUMNS.len()]) -> String {
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}"));
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// Microseconds, in ms.
pub fn ms(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 microseconds")]
    let us = us as f64;
    format!("{:.2}", us / 1000.0)
}

/// Goals that were missed, each once.
#[derive(Debug, Default)]
pub struct Goals(BTreeSet<String>);

impl Goals {
    pub fn is(&mut self, held: bool, goal: &str) {
        if !held {
            self.0.insert(goal.to_owned());
        }
    }

    pub fn missed(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// For microseconds up to a minute.
pub fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}
