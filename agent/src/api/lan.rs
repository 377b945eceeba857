//! What is said of the LAN that the members make.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lanrage_agent_core::broadcast::{PortSpan, Service};
use lanrage_shared::api::game::GameName;
use lanrage_shared::names::MemberName;
use serde::{Deserialize, Serialize};

/// What is passed on to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeMode {
    /// The ports of known games.
    Games,
    /// Any UDP port but those that do harm.
    Open,
}

/// What is to be passed on from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BridgeChange {
    pub mode: Option<BridgeMode>,
    pub allow: Vec<PortSpan>,
    pub forbid: Vec<PortSpan>,
    pub with: Vec<Service>,
    pub without: Vec<Service>,
}

/// `lanrage lan --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeReport {
    pub mode: BridgeMode,
    /// How many games' ports are passed on.
    pub games: usize,
    /// Ports besides those, allowed by hand.
    pub ports: Vec<PortSpan>,
    pub services: Vec<Service>,
    /// Datagrams of this PC passed on to the party, and of the party given to this PC.
    pub sent: u64,
    pub received: u64,
    /// Packets that were not, by reason.
    pub not_sent: BTreeMap<String, u64>,
    pub not_received: BTreeMap<String, u64>,
}

/// `lanrage test-lan --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestLanReport {
    /// Whose way to look for servers was tried; none: what most do.
    pub game: Option<GameName>,
    pub ways: Vec<TestWayReport>,
}

/// One way to look for servers, tried by everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestWayReport {
    /// `broadcast` or `multicast`.
    pub method: String,
    pub group: Option<IpAddr>,
    pub port: u16,
    /// Of every pair of members, in both directions.
    pub results: Vec<HeardReport>,
    /// Servers of the game that answered this PC's question.
    pub servers: Vec<SocketAddr>,
}

/// Whether one member's PC heard another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardReport {
    pub from: MemberName,
    pub to: MemberName,
    pub heard: bool,
    /// Why not, in words.
    pub reason: Option<String>,
}
