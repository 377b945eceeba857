//! What is told of games.

use std::time::Instant;

use lanrage_agent_core::games::{Current, Discovery, GameLibrary, GameProfile, Method, Past, PortRange, Sender};

use super::GamesNow;
use crate::api::{
    DiscoveryReport, GameReport, GamesReport, KnownGameReport, KnownGamesReport, PastGameReport, ProblemReport,
};

/// `games`.
pub fn games(now: &GamesNow, at: Instant) -> GamesReport {
    GamesReport {
        games: now.current.iter().map(|current| running(current, at)).collect(),
        recent: now.past.iter().map(|past| ran(past, at)).collect(),
        profiles: now.library.len(),
        user_profiles: now.user_profiles,
        problems: now
            .problems
            .iter()
            .map(|problem| ProblemReport {
                file: problem.file.clone(),
                line: problem.line,
                reason: problem.reason.clone(),
            })
            .collect(),
        window_titles: now.looked.is_some() && now.no_titles.is_none(),
        note: match now.looked {
            None => Some("the agent has only just started and has not looked yet".to_owned()),
            Some(_) => now
                .no_titles
                .as_ref()
                .map(|why| format!("window titles are not seen: {why}")),
        },
    }
}

fn running(current: &Current, at: Instant) -> GameReport {
    let found = &current.found;
    GameReport {
        id: found.game.id.clone(),
        name: found.game.name.clone(),
        wording: found.wording,
        confidence: (found.confidence * 100.0).round() / 100.0,
        pid: found.pid,
        process: found.process.clone(),
        since: seconds(current.since, at),
        evidence: found.evidence.iter().map(ToString::to_string).collect(),
    }
}

fn ran(past: &Past, at: Instant) -> PastGameReport {
    PastGameReport {
        id: past.id.clone(),
        name: past.name.clone(),
        wording: past.wording,
        played_s: seconds(past.started, past.ended),
        ended_s: seconds(past.ended, at),
    }
}

fn seconds(from: Instant, to: Instant) -> u64 {
    to.saturating_duration_since(from).as_secs()
}

/// `games --all`.
pub fn known(library: &GameLibrary) -> KnownGamesReport {
    KnownGamesReport {
        known: library.games().map(|game| known_game(game)).collect(),
    }
}

fn known_game(game: &GameProfile) -> KnownGameReport {
    KnownGameReport {
        id: game.id.clone(),
        name: game.name.clone(),
        latency_class: game.latency_class.as_str().to_owned(),
        discovery: game.discovery.iter().map(discovery).collect(),
    }
}

fn discovery(discovery: &Discovery) -> DiscoveryReport {
    let (method, group) = match discovery.method {
        Method::Broadcast => ("broadcast", None),
        Method::Multicast(group) => ("multicast", Some(group)),
    };
    DiscoveryReport {
        method: method.to_owned(),
        group,
        ports: ports(&discovery.ports),
        sender: match discovery.sender {
            Sender::Client => "client",
            Sender::Server => "server",
        }
        .to_owned(),
        source: discovery.source.clone(),
    }
}

/// `4445` or `27960-27963`.
fn ports(range: &PortRange) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}
