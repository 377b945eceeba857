use std::collections::BTreeSet;

use clap::Args;

use super::{Context, agent, output};
use crate::api::{Failure, Request, TestLanReport, TestWayReport};

/// Try out whether the members' games find each other: every PC sends as a game does, and every other listens.
#[derive(Debug, Args)]
pub(super) struct TestLan {
    /// The game, by its name or as `lanrage games --all` calls it; none tries what most games do.
    #[arg(value_name = "GAME")]
    game: Vec<String>,
}

impl TestLan {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let game = Some(self.game.join(" ")).filter(|game| !game.trim().is_empty());
        let report: TestLanReport = agent::ask(context, &Request::TestLan { game }).await?;
        if context.json {
            output::json(&report)?;
        } else {
            output::text(&in_words(&report))?;
        }
        if report
            .ways
            .iter()
            .all(|way| way.results.iter().all(|result| result.heard))
        {
            return Ok(());
        }
        Err(Failure::new("not_heard", "not everybody hears everybody"))
    }
}

fn in_words(report: &TestLanReport) -> String {
    let what = match &report.game {
        Some(game) => format!("As {game} looks for servers"),
        None => "As most games look for servers".to_owned(),
    };
    if report.ways.iter().all(|way| way.results.is_empty()) {
        return "Nobody else is in the party, so there is nobody to hear this PC.".to_owned();
    }
    let mut parts = Vec::new();
    for way in &report.ways {
        parts.push(format!("{what}, by {}:\n{}", described(way), matrix(way)));
    }
    let reasons = |heard: bool| -> BTreeSet<&str> {
        let results = report.ways.iter().flat_map(|way| &way.results);
        let of_these = results.filter(|result| result.heard == heard);
        of_these.filter_map(|result| result.reason.as_deref()).collect()
    };
    let listed = |title: &str, reasons: BTreeSet<&str>| {
        let lines: Vec<String> = reasons.into_iter().map(|reason| format!("- {reason}")).collect();
        format!("{title}\n{}", lines.join("\n"))
    };
    let (instead, missing) = (reasons(true), reasons(false));
    if !instead.is_empty() {
        parts.push(listed("By a program:", instead));
    }
    if missing.is_empty() {
        parts.push("Everybody hears everybody.".to_owned());
    } else {
        parts.push(listed("Why not:", missing));
    }
    parts.join("\n\n")
}

fn described(way: &TestWayReport) -> String {
    let mut text = match way.group {
        Some(group) => format!("multicast to {group}, port {}", way.port),
        None => format!("broadcast to port {}", way.port),
    };
    if !way.servers.is_empty() {
        let servers: Vec<String> = way.servers.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" (servers that answered: {})", servers.join(", ")));
    }
    text
}

/// Who was heard, down; who heard, across.
fn matrix(way: &TestWayReport) -> String {
    let mut names: Vec<&str> = Vec::new();
    for result in &way.results {
        for name in [result.from.as_str(), result.to.as_str()] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let cell = |from: &str, to: &str| {
        let result = way
            .results
            .iter()
            .find(|result| result.from.as_str() == from && result.to.as_str() == to);
        match result {
            Some(result) if result.heard && result.reason.is_none() => "heard".to_owned(),
            Some(result) if result.heard => "by a program".to_owned(),
            Some(_) => "NOT HEARD".to_owned(),
            None => "–".to_owned(),
        }
    };
    let header: Vec<&str> = std::iter::once("FROM \\ BY").chain(names.iter().copied()).collect();
    let rows = names.iter().map(|from| {
        let cells = names.iter().map(|to| cell(from, to));
        std::iter::once((*from).to_owned()).chain(cells).collect::<Vec<_>>()
    });
    output::table(header, rows)
}
