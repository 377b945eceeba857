use std::fmt::Write as _;

use clap::Args;

use super::{Context, agent, output};
use crate::api::{
    DiscoveryReport, Failure, GameReport, GamesReport, KnownGameReport, KnownGamesReport, PastGameReport, Request,
};

/// Show the games that run on this PC, and what tells so.
#[derive(Debug, Args)]
pub(super) struct Games {
    /// Show it again every second until interrupted. With --json: one report per line.
    #[arg(long, conflicts_with = "all")]
    watch: bool,
    /// List every game there is a profile of, and how it finds servers in a LAN.
    #[arg(long)]
    all: bool,
}

/// Of what ran, this many are shown to people.
const SHOWN: usize = 10;

impl Games {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.watch {
            return output::watch(|| frame(context)).await;
        }
        if self.all {
            let report: KnownGamesReport = agent::ask(context, &Request::KnownGames).await?;
            if context.json {
                return output::json(&report);
            }
            return output::text(&all_in_words(&report));
        }
        let report: GamesReport = agent::ask(context, &Request::Games).await?;
        if context.json {
            return output::json(&report);
        }
        output::text(&in_words(&report))
    }
}

async fn frame(context: &Context) -> Result<String, Failure> {
    let report: GamesReport = agent::ask(context, &Request::Games).await?;
    if context.json {
        return output::json_line(&report);
    }
    Ok(in_words(&report))
}

fn in_words(report: &GamesReport) -> String {
    let mut text = match report.games.as_slice() {
        [] => "No game runs on this PC, as far as can be told.".to_owned(),
        games => games.iter().map(game).collect::<Vec<_>>().join("\n"),
    };
    if !report.recent.is_empty() {
        let header = ["BEFORE", "PLAYED", "ENDED"];
        let rows = report.recent.iter().take(SHOWN).map(before);
        let _ = write!(text, "\n\n{}", output::table(header, rows));
    }
    let _ = write!(text, "\n\n{} games are known", report.profiles);
    match report.user_profiles {
        0 => text.push_str("; `games --all` lists them."),
        count => {
            let _ = write!(
                text,
                ", {count} of them by profiles of yours; `games --all` lists them."
            );
        }
    }
    for problem in &report.problems {
        let _ = write!(text, "\n{}, line {}: {}", problem.file, problem.line, problem.reason);
    }
    if let Some(note) = &report.note {
        let _ = write!(text, "\nNote: {note}.");
    }
    text
}

/// `Quake III Arena, definitely (96 %), for 12 min` and what speaks for it.
fn game(game: &GameReport) -> String {
    let sure = game.confidence * 100.0;
    let since = output::age(game.since);
    let mut text = format!("{}, {} ({sure:.0} %), for {since}", game.name, game.wording);
    let _ = write!(text, "\n  process {} ({})", game.process, game.pid);
    for evidence in &game.evidence {
        let _ = write!(text, "\n  {evidence}");
    }
    text
}

fn before(past: &PastGameReport) -> [String; 3] {
    [
        past.name.to_string(),
        output::age(past.played_s),
        format!("{} ago", output::age(past.ended_s)),
    ]
}

fn all_in_words(report: &KnownGamesReport) -> String {
    output::table(["ID", "GAME", "FINDS SERVERS BY"], report.known.iter().map(known))
}

fn known(game: &KnownGameReport) -> [String; 3] {
    let ways: Vec<String> = game.discovery.iter().map(way).collect();
    let ways = if ways.is_empty() {
        "–".to_owned()
    } else {
        ways.join("; ")
    };
    [game.id.to_string(), game.name.to_string(), ways]
}

/// `broadcast to port 27960-27963`.
fn way(way: &DiscoveryReport) -> String {
    match way.group {
        Some(group) => format!("{} to {group} port {}", way.method, way.ports),
        None => format!("{} to port {}", way.method, way.ports),
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::game::Wording;

    use super::*;
    use crate::api::ProblemReport;

    fn report() -> GamesReport {
        GamesReport {
            games: vec![GameReport {
                id: "quake".parse().unwrap(),
                name: "Quake".parse().unwrap(),
                wording: Wording::Definitely,
                confidence: 0.96,
                pid: 7,
                process: "quake".into(),
                since: 720,
                evidence: vec!["it listens on UDP port 26000".into()],
            }],
            recent: vec![PastGameReport {
                id: "chess".parse().unwrap(),
                name: "Chess".parse().unwrap(),
                wording: Wording::Probably,
                played_s: 60,
                ended_s: 5,
            }],
            profiles: 200,
            user_profiles: 1,
            problems: vec![ProblemReport {
                file: "mine.toml".into(),
                line: 3,
                reason: "what is this".into(),
            }],
            window_titles: false,
            note: Some("window titles are not seen: no desktop".into()),
        }
    }

    #[test]
    fn a_running_game_reads_with_what_speaks_for_it() {
        assert_eq!(
            in_words(&report()),
            "Quake, definitely (96 %), for 12 min\n  process quake (7)\n  it listens on UDP port 26000\n\n\
             BEFORE  PLAYED  ENDED\nChess   1 min   5 s ago\n\n\
             200 games are known, 1 of them by profiles of yours; `games --all` lists them.\n\
             mine.toml, line 3: what is this\nNote: window titles are not seen: no desktop."
        );
        let nothing = GamesReport {
            games: vec![],
            recent: vec![],
            problems: vec![],
            note: None,
            ..report()
        };
        assert!(in_words(&nothing).starts_with("No game runs on this PC"));
    }

    #[test]
    fn known_games_are_listed_with_how_they_find_servers() {
        let way = DiscoveryReport {
            method: "multicast".into(),
            group: Some("224.0.2.60".parse().unwrap()),
            ports: "4445".into(),
            sender: "server".into(),
            source: "https://example.net".into(),
        };
        let game = |discovery| KnownGameReport {
            id: "quake".parse().unwrap(),
            name: "Quake".parse().unwrap(),
            latency_class: "fast".into(),
            discovery,
        };
        let known = vec![game(vec![way]), game(vec![])];
        assert_eq!(
            all_in_words(&KnownGamesReport { known }),
            "ID     GAME   FINDS SERVERS BY\nquake  Quake  multicast to 224.0.2.60 port 4445\nquake  Quake  –"
        );
    }
}
