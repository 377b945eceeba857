//! What is told of games.

use std::net::IpAddr;

use lanrage_shared::api::game::{GameId, GameName, Wording};
use serde::{Deserialize, Serialize};

/// A game that somebody else plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayingReport {
    pub name: GameName,
    pub wording: Wording,
}

/// `lanrage games --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GamesReport {
    /// What runs on this PC, surest first.
    pub games: Vec<GameReport>,
    /// What ran since the agent started, the latest first.
    pub recent: Vec<PastGameReport>,
    /// Games that are known, and how many of them by the user's own profiles.
    pub profiles: usize,
    pub user_profiles: usize,
    /// What is wrong with the user's profiles.
    pub problems: Vec<ProblemReport>,
    /// Whether windows' titles are seen.
    pub window_titles: bool,
    /// What limits what is found, in words.
    pub note: Option<String>,
}

/// A game that runs on this PC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GameReport {
    pub id: GameId,
    pub name: GameName,
    pub wording: Wording,
    /// From 0 to 1.
    pub confidence: f64,
    pub pid: u32,
    pub process: String,
    /// Seconds since it was first seen.
    pub since: u64,
    /// What speaks for it, in words.
    pub evidence: Vec<String>,
}

/// A game that ran on this PC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastGameReport {
    pub id: GameId,
    pub name: GameName,
    /// As sure as it ever was.
    pub wording: Wording,
    /// How long it ran, and how long ago it ended, in seconds.
    pub played_s: u64,
    pub ended_s: u64,
}

/// What is wrong with a profile of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemReport {
    pub file: String,
    pub line: usize,
    pub reason: String,
}

/// `lanrage games --all --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownGamesReport {
    pub known: Vec<KnownGameReport>,
}

/// A game there is a profile of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownGameReport {
    pub id: GameId,
    pub name: GameName,
    /// `fast`, `medium` or `relaxed`.
    pub latency_class: String,
    /// How it finds servers in a LAN.
    pub discovery: Vec<DiscoveryReport>,
}

/// One way in which a game finds servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryReport {
    /// `broadcast` or `multicast`.
    pub method: String,
    pub group: Option<IpAddr>,
    /// `4445` or `27960-27963`.
    pub ports: String,
    /// Who speaks first: `client` or `server`.
    pub sender: String,
    /// Where this comes from.
    pub source: String,
}
