//! The local API: how the command line, scripts and (through it) people talk to the running agent.
//!
//! One connection carries one request: a line of JSON [`Request`], answered by any number of [`Reply::Progress`] lines and
//! one last [`Reply::Done`] or [`Reply::Failed`]. On Linux the connection is a Unix socket in the state directory that only
//! root and its owner may open; on Windows a named pipe with the same rule.
//!
//! The JSON names below are the contract for scripts. They are what `--json` prints.

pub mod client;
mod doctor;
mod games;
mod lan;
mod latency;
mod party;
pub mod server;
mod status;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::Ipv4Net;
use lanrage_shared::ids::{MemberId, RelayId};
use lanrage_shared::names::{MemberName, PartyName};
use serde::{Deserialize, Serialize};

pub use self::doctor::{DoctorCheck, DoctorReport, Verdict};
pub use self::games::{
    DiscoveryReport, GameReport, GamesReport, KnownGameReport, KnownGamesReport, PastGameReport, PlayingReport,
    ProblemReport,
};
pub use self::lan::{BridgeChange, BridgeMode, BridgeReport, HeardReport, TestLanReport, TestWayReport};
pub use self::latency::{LatenciesReport, LatencyReport, NotAServer, ServerAddress};
pub use self::party::{EndedReport, InviteLine, InvitesReport, PartyChange, SettingsReport};
pub use self::status::{
    AgentState, DeviceReport, KeepaliveReport, LanReport, NatKeepaliveReport, NatReport, PartyReport, RepairReport,
    ServerReport, StatusReport,
};

/// What the agent can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Answer: [`StatusReport`].
    Status,
    /// Answer: [`PeersReport`].
    Peers,
    /// Creates a party on a server. Answer: [`JoinedReport`] with an invite.
    Host {
        server: String,
        party: Option<PartyName>,
        name: Option<MemberName>,
    },
    /// Makes another invite to the party this agent hosts. Answer: [`InviteReport`].
    Invite {
        expires_in_s: Option<u64>,
        max_uses: Option<u32>,
    },
    /// Joins a party. Answer: [`JoinedReport`].
    Join { invite: String, name: Option<MemberName> },
    /// Leaves the party. Answer: [`LeftReport`].
    Leave,
    /// Removes another member, for good with `ban`; host only. Answer: [`RemovedReport`].
    Remove {
        target: String,
        #[serde(default)]
        ban: bool,
    },
    /// Who is banned, and with `target` no longer; host only. Answer: [`BansReport`].
    Bans { lift: Option<String> },
    /// The party's settings, after the change; only the host changes them. Answer: [`SettingsReport`].
    Party {
        #[serde(default)]
        change: PartyChange,
    },
    /// Makes another member the host; host only. Answer: [`SettingsReport`].
    Transfer { target: String },
    /// The invites, without the one whose id begins like `revoke`; host only. Answer: [`InvitesReport`].
    Invites { revoke: Option<String> },
    /// Ends the party for everybody, if it has this name; host only. Answer: [`EndedReport`].
    End { name: String },
    /// Answer: [`RelaysReport`].
    Relays,
    /// Changes what is passed on to everybody, or nothing. Answer: [`BridgeReport`].
    Bridge {
        #[serde(default)]
        change: BridgeChange,
    },
    /// How far servers outside the party are, after the change. Answer: [`LatenciesReport`].
    Latency {
        add: Option<ServerAddress>,
        remove: Option<ServerAddress>,
    },
    /// Tries out whether the members' PCs find each other. Answer: [`TestLanReport`].
    TestLan { game: Option<String> },
    /// Answer: [`GamesReport`].
    Games,
    /// Answer: [`KnownGamesReport`].
    KnownGames,
    /// Measures the NAT and the relays and tries every way to every peer anew. Answer: [`RefreshReport`], before it is done.
    Refresh,
    /// Measures the way to a peer, once. Answer: [`PingReport`].
    Ping { target: String, timeout_ms: u64 },
    /// Looks for what keeps games from finding each other, and with `fix` repairs what can be. Answer: [`DoctorReport`].
    Doctor {
        #[serde(default)]
        fix: bool,
        /// With `fix`, for the host: the party moves out of the way of these networks, a guest's.
        #[serde(default)]
        avoid: Vec<Ipv4Net>,
    },
    /// Ends the agent. Answer: [`DownReport`], sent before it ends.
    Down,
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What is being done right now, in words.
    Progress(String),
    /// The request's result.
    Done(serde_json::Value),
    /// The request failed; nothing was changed.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable code for scripts, e.g. `server_unreachable`, `wrong_server_key`, `invite_expired`.
    pub code: String,
    /// One sentence: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its stable code and sentence.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// `lanrage peers --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeersReport {
    /// The party they are in; none when this PC is in none.
    pub party: Option<PartyName>,
    pub peers: Vec<PeerReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    pub name: MemberName,
    pub member: MemberId,
    pub virtual_ip: Ipv4Addr,
    pub virtual_ip6: Ipv6Addr,
    /// Its agent is connected to the control server, as far as known.
    pub online: bool,
    pub path: PathReport,
    /// Tunnel bytes, WireGuard overhead included.
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Seconds since the last WireGuard handshake; none before the first.
    pub last_handshake_s: Option<u64>,
    /// Why there is no direct path, in words and with what would help; none while there is one.
    pub reason: Option<String>,
    /// What it plays, as its agent told.
    #[serde(default)]
    pub game: Option<PlayingReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    pub kind: PathKind,
    /// Where packets to this peer go; none without a direct path.
    pub address: Option<SocketAddr>,
    /// The relay that passes them on; none without one.
    #[serde(default)]
    pub relay: Option<RelayId>,
    /// Milliseconds, measured by probes outside the tunnel.
    pub rtt_ms: Option<f64>,
    /// Seconds since this path was taken.
    pub since: Option<u64>,
    /// What its probes show; none until one was answered.
    #[serde(default)]
    pub quality: Option<QualityReport>,
}

/// How good a path is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// From 0, unplayable, to 100: latency 40 %, loss 35 %, jitter 25 %.
    pub score: u8,
    /// Standard deviation of the round-trip time, in ms.
    pub jitter_ms: f64,
    /// Probes that were not answered, in percent of the latest hundred.
    pub loss_percent: f64,
    pub trend: TrendReport,
}

/// Where a round-trip time is heading, over the last ten probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendReport {
    Improving,
    Stable,
    Degrading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    Direct,
    Relay,
    None,
}

/// `lanrage relays --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelaysReport {
    /// None outside a party.
    pub party: Option<PartyName>,
    pub relays: Vec<RelayReport>,
}

/// One relay the server offers, or this agent still uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelayReport {
    pub id: RelayId,
    /// Where it is, as its operator calls it; none when the server does not name it any more.
    pub region: Option<String>,
    /// How full it is, in percent.
    pub load: Option<u8>,
    /// There is a session.
    pub connected: bool,
    /// The one peers are told to use first.
    pub home: bool,
    /// Round-trip time from this PC as last measured, in ms; none when it never answered.
    pub rtt_ms: Option<f64>,
    /// Peers whose packets go through it now.
    pub peers: usize,
    /// Why it is (not) used, in words.
    pub why: String,
}

/// Result of `refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshReport {
    pub party: PartyName,
}

/// Result of `kick` and `ban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedReport {
    pub name: MemberName,
    /// No invite admits the device again.
    pub banned: bool,
    /// The invite that the device came by admits nobody any more.
    #[serde(default)]
    pub invite_ended: bool,
}

/// Result of `unban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BansReport {
    /// Who may be invited again.
    pub lifted: Option<MemberName>,
    /// Who is still banned.
    pub banned: Vec<MemberName>,
}

/// Result of `host` and `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinedReport {
    pub party: PartyReport,
    pub virtual_ip: Ipv4Addr,
    pub virtual_ip6: Ipv6Addr,
    /// With `host`: what friends pass to `join`.
    pub invite: Option<String>,
}

/// Result of `invite`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InviteReport {
    pub invite: String,
    pub expires_in_s: u64,
    pub max_uses: Option<u32>,
}

/// Result of `leave`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftReport {
    pub party: PartyName,
    /// The server was told; otherwise the agent goes on trying, and this PC has forgotten the party either way.
    pub server_told: bool,
}

/// Result of one `ping`: a round trip through the tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingReport {
    pub peer: MemberName,
    pub virtual_ip: IpAddr,
    /// Milliseconds; none when no answer came in time.
    pub rtt_ms: Option<f64>,
    pub path: PathReport,
    /// Why no answer came, in words.
    pub reason: Option<String>,
}

/// Result of `down`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownReport {
    pub pid: u32,
}
