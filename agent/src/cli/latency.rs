use clap::{Args, Subcommand};

use super::{Context, agent, output};
use crate::api::{Failure, LatenciesReport, LatencyReport, Request, ServerAddress, TrendReport};

/// Show how far servers outside the party are, as this PC measures it all the time.
#[derive(Debug, Args)]
pub(super) struct Latency {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Watch another server.
    Add {
        /// Its name or address; with a port, TCP is tried there if it answers no pings.
        #[arg(value_name = "HOST[:PORT]")]
        server: ServerAddress,
    },
    /// Watch a server no longer.
    Remove {
        /// As it is listed.
        #[arg(value_name = "HOST[:PORT]")]
        server: ServerAddress,
    },
}

impl Latency {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (add, remove) = match self.change {
            None => (None, None),
            Some(Change::Add { server }) => (Some(server), None),
            Some(Change::Remove { server }) => (None, Some(server)),
        };
        let report: LatenciesReport = agent::ask(context, &Request::Latency { add, remove }).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

fn in_words(report: &LatenciesReport) -> String {
    if report.servers.is_empty() {
        return "No server is watched: `lanrage latency add play.example.net` does.".to_owned();
    }
    let header = ["SERVER", "RTT", "JITTER", "LOSS", "TREND", "HOW", "EVERY"];
    let mut text = output::table(header, report.servers.iter().map(row));
    for server in &report.servers {
        if let Some(reason) = &server.reason {
            text.push_str(&format!("\n{}: {reason}.", server.server));
        }
    }
    text
}

fn row(server: &LatencyReport) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    [
        server.server.to_string(),
        output::millis(server.rtt_ms),
        output::millis(server.jitter_ms),
        or_dash(server.loss_percent.map(|loss| format!("{loss} %"))),
        or_dash(server.trend.map(|trend| {
            match trend {
                TrendReport::Improving => "improving",
                TrendReport::Stable => "stable",
                TrendReport::Degrading => "degrading",
            }
            .to_owned()
        })),
        or_dash(server.measured_by.clone()),
        format!("{} s", server.interval_s),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_listed_with_why_they_do_not_answer() {
        let silent = LatencyReport {
            server: "play.example.net".parse().unwrap(),
            rtt_ms: None,
            jitter_ms: None,
            loss_percent: None,
            trend: None,
            measured_by: None,
            interval_s: 10,
            reason: Some("it is gone".to_owned()),
        };
        let near = LatencyReport {
            server: "near.example.net:25565".parse().unwrap(),
            rtt_ms: Some(20.04),
            jitter_ms: Some(1.0),
            loss_percent: Some(0.0),
            trend: Some(TrendReport::Stable),
            measured_by: Some("icmp".to_owned()),
            interval_s: 60,
            reason: None,
        };
        let text = in_words(&LatenciesReport {
            servers: vec![near, silent],
        });
        assert!(text.contains("near.example.net:25565  20.0 ms"), "{text}");
        assert!(text.ends_with("play.example.net: it is gone."), "{text}");
        assert!(in_words(&LatenciesReport::default()).contains("latency add"));
    }
}
