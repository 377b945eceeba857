//! What is known of one game. Each type reads itself from TOML and cannot hold a value that makes no sense.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use lanrage_shared::api::game::{GameId, GameName};
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// From and to, both included.
pub type PortRange = RangeInclusive<u16>;
/// SHA-256 of an executable.
pub type Sha256 = [u8; 32];

/// One game.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GameProfile {
    /// The name of its file.
    pub id: GameId,
    pub name: GameName,
    pub latency_class: LatencyClass,
    pub processes: Processes,
    /// How the titles of its windows begin.
    pub window_titles: Vec<String>,
    pub ports: Ports,
    pub discovery: Vec<Discovery>,
    pub tuning: Tuning,
    /// Executables that are this game whatever they are called.
    pub hashes: Vec<Sha256>,
    /// Where these facts come from; never empty.
    pub sources: Vec<String>,
}

/// How soon a player notices delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyClass {
    /// Shooters, fighting, racing.
    Fast,
    Medium,
    /// Turns, building.
    Relaxed,
}

/// What its programs are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    pub linux: Vec<String>,
    pub windows: Vec<String>,
}

/// Where it listens or is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ports {
    pub udp: Vec<PortRange>,
    pub tcp: Vec<PortRange>,
}

/// One way in which the game finds servers in a LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub method: Method,
    /// Destination ports of the datagrams.
    pub ports: PortRange,
    pub sender: Sender,
    /// What is sent, or how it begins.
    pub probe: Option<Vec<u8>>,
    /// Where this comes from.
    pub source: String,
}

/// Where a discovery datagram is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    Broadcast,
    Multicast(IpAddr),
}

/// Who speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// Who looks for a server asks, and servers answer.
    Client,
    /// Servers tell of themselves unasked.
    Server,
}

/// What it wants while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Pause between keepalives, 1 to 60 s.
    pub keepalive: Option<Duration>,
    /// Longest packet inside the tunnel in bytes, 576 to 1280.
    pub mtu: Option<u16>,
    /// Differentiated services code point (RFC 2474), 0 to 63.
    pub dscp: Option<u8>,
}

impl GameProfile {
    /// Every port it is known to use, discovery included.
    pub fn all_ports(&self) -> impl Iterator<Item = PortRange> {
        let own = self.ports.udp.iter().chain(&self.ports.tcp).cloned();
        own.chain(self.discovery.iter().map(|discovery| discovery.ports.clone()))
    }
}

impl LatencyClass {
    /// As profiles write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Relaxed => "relaxed",
        }
    }
}

/// A port or `"a-b"`, as TOML has it.
pub(super) struct TomlPorts(pub PortRange);

impl<'de> Deserialize<'de> for TomlPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor).map(Self)
    }
}

struct PortsVisitor;

impl Visitor<'_> for PortsVisitor {
    type Value = PortRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port from 1 to 65535, or a range of them such as \"27000-27015\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<PortRange, E> {
        let port = u16::try_from(value).ok().filter(|&port| port != 0);
        let port = port.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))?;
        Ok(port..=port)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PortRange, E> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&port| port != 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(first..=last),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}
