use std::time::Duration;

use clap::Args;

use super::{Context, agent, numbers, output, peers};
use crate::api::{Failure, PathReport, PingReport, Request};

/// How long the first answer may take, in ms: the tunnel may have to be set up for it.
const FIRST_TIMEOUT_MS: u64 = 2000;
/// How long any other may take, in ms.
const TIMEOUT_MS: u64 = 1000;
/// More than a day of them.
const MAX_COUNT: u32 = 100_000;
const INTERVAL: Duration = Duration::from_secs(1);

/// Measure the way to a peer, through the tunnel. With --json: one report per line.
#[derive(Debug, Args)]
pub(super) struct Ping {
    /// A peer's name or virtual address.
    #[arg(value_name = "PEER")]
    target: String,
    /// How many times.
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = count)]
    count: u32,
}

impl Ping {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut tally = Tally::default();
        let mut path = None;
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0..self.count {
            tick.tick().await;
            let request = Request::Ping {
                target: self.target.clone(),
                timeout_ms: if number == 0 { FIRST_TIMEOUT_MS } else { TIMEOUT_MS },
            };
            let report: PingReport = agent::ask(context, &request).await?;
            if context.json {
                output::json(&report)?;
            } else {
                if let Some(change) = path.and_then(|before| change(&before, &report.path)) {
                    output::text(&change)?;
                }
                output::text(&in_words(&report))?;
            }
            path = Some(report.path.clone());
            tally.add(report);
        }
        if !context.json {
            output::text(&tally.in_words())?;
        }
        tally.verdict()
    }
}

fn count(text: &str) -> Result<u32, String> {
    numbers::within(text, 1..=MAX_COUNT, "a number of times")
}

fn in_words(report: &PingReport) -> String {
    let who = format!("{} ({})", report.peer, report.virtual_ip);
    match report.rtt_ms {
        Some(rtt) => format!("{who} answered in {rtt:.1} ms, {}", peers::path(&report.path)),
        None => format!("{who}: no answer"),
    }
}

/// `path: relay fra-1 → direct 203.0.113.7:4000 (12.0 ms)`, when it is another than before.
fn change(before: &PathReport, now: &PathReport) -> Option<String> {
    let way = |path: &PathReport| (path.kind, path.address, path.relay.clone());
    let rtt = now.rtt_ms.map(|rtt| format!(" ({rtt:.1} ms)")).unwrap_or_default();
    let change = format!("path: {} → {}{rtt}", peers::path(before), peers::path(now));
    (way(before) != way(now)).then_some(change)
}

fn reason(report: &PingReport) -> &str {
    report.reason.as_deref().unwrap_or("nothing came back in time")
}

#[derive(Default)]
struct Tally {
    sent: u32,
    answers: Vec<f64>,
    last_silence: Option<PingReport>,
}

impl Tally {
    fn add(&mut self, report: PingReport) {
        self.sent += 1;
        match report.rtt_ms {
            Some(rtt) => self.answers.push(rtt),
            None => self.last_silence = Some(report),
        }
    }

    fn in_words(&self) -> String {
        let (sent, answered) = (self.sent, self.answers.len());
        let Some(least) = self.answers.iter().copied().reduce(f64::min) else {
            return format!("{sent} sent, none answered");
        };
        let most = self.answers.iter().copied().fold(least, f64::max);
        let average = self.answers.iter().sum::<f64>() / answered as f64;
        let figures = format!(
            "{sent} sent, {answered} answered; fastest {least:.1} ms, average {average:.1} ms, slowest {most:.1} ms"
        );
        // Without any answer the failure tells it.
        match self.last_silence.as_ref().and_then(|silent| silent.reason.as_ref()) {
            Some(reason) => format!("{figures}\nno answer: {reason}"),
            None => figures,
        }
    }

    /// A failure when nothing came back at all.
    fn verdict(self) -> Result<(), Failure> {
        match self.last_silence {
            Some(report) if self.answers.is_empty() => {
                let sentence = format!("{} did not answer: {}", report.peer, reason(&report));
                Err(Failure::new("no_answer", sentence))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PathKind;

    fn report(rtt_ms: Option<f64>) -> PingReport {
        PingReport {
            peer: "Anna".parse().unwrap(),
            virtual_ip: "10.64.0.2".parse().unwrap(),
            rtt_ms,
            path: PathReport {
                kind: PathKind::Direct,
                address: Some("203.0.113.7:4000".parse().unwrap()),
                relay: None,
                rtt_ms,
                since: None,
                quality: None,
            },
            reason: rtt_ms.is_none().then(|| "Anna is offline".to_owned()),
        }
    }

    fn tally(answers: &[Option<f64>]) -> Tally {
        let mut tally = Tally::default();
        answers.iter().for_each(|&rtt| tally.add(report(rtt)));
        tally
    }

    #[test]
    fn an_answer_says_how_long_and_which_way() {
        assert_eq!(
            in_words(&report(Some(20.04))),
            "Anna (10.64.0.2) answered in 20.0 ms, direct 203.0.113.7:4000"
        );
    }

    #[test]
    fn another_path_is_told_and_the_same_one_is_not() {
        let direct = report(Some(12.0)).path;
        let relayed = PathReport {
            kind: PathKind::Relay,
            address: None,
            relay: Some("fra-1".parse().unwrap()),
            rtt_ms: Some(40.0),
            ..direct.clone()
        };
        assert_eq!(
            change(&relayed, &direct).as_deref(),
            Some("path: relay fra-1 → direct 203.0.113.7:4000 (12.0 ms)")
        );
        let slower = PathReport {
            rtt_ms: Some(50.0),
            since: Some(9),
            ..relayed.clone()
        };
        assert_eq!(change(&relayed, &slower), None);
    }

    #[test]
    fn one_answer_among_silences_is_a_success() {
        let tally = tally(&[None, Some(20.0), Some(30.0)]);
        assert_eq!(
            tally.in_words(),
            "3 sent, 2 answered; fastest 20.0 ms, average 25.0 ms, slowest 30.0 ms\nno answer: Anna is offline"
        );
        assert!(tally.verdict().is_ok());
    }

    #[test]
    fn silence_alone_is_a_failure_that_says_why_once() {
        assert_eq!(in_words(&report(None)), "Anna (10.64.0.2): no answer");
        let tally = tally(&[None, None]);
        assert_eq!(tally.in_words(), "2 sent, none answered");
        let failure = tally.verdict().unwrap_err();
        assert_eq!(
            failure,
            Failure::new("no_answer", "Anna did not answer: Anna is offline")
        );
    }
}
