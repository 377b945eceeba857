//! What the agent says of itself.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lanrage_shared::api::presence::{Filtering, Mapping};
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_shared::names::{MemberName, PartyName};
use serde::{Deserialize, Serialize};

/// `lanrage status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    pub state: AgentState,
    /// The agent's version.
    pub version: String,
    pub device: DeviceReport,
    /// None outside a party.
    pub party: Option<PartyReport>,
    pub virtual_ip: Option<Ipv4Addr>,
    pub virtual_ip6: Option<Ipv6Addr>,
    pub nat: NatReport,
    pub server: ServerReport,
    #[serde(default)]
    pub keepalive: KeepaliveReport,
    #[serde(default)]
    pub lan: LanReport,
    /// Packets that went no further since the agent started, by reason.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
    /// What the user should know, in words; empty when all is well.
    pub warnings: Vec<String>,
}

/// What it took to keep the network adapter right, since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanReport {
    /// How often something was put right again that another program had changed, by what it was.
    pub repairs: BTreeMap<String, u64>,
    pub last_repair: Option<RepairReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// A name of [`LanReport::repairs`].
    pub kind: String,
    /// Seconds ago.
    pub since: u64,
}

/// What keeping idle direct paths open costs, in this run and party.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepaliveReport {
    /// Seconds between two on the path that needs them most; none without a direct path.
    pub pause_s: Option<u64>,
    pub sent: u64,
    /// Mappings that a router dropped all the same.
    pub lost: u64,
    /// The same behind each kind of NAT this PC was behind, as [`NatReport::kind`] names it.
    #[serde(default)]
    pub by_nat: BTreeMap<String, NatKeepaliveReport>,
}

/// What keeping paths open behind one kind of NAT costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatKeepaliveReport {
    pub sent: u64,
    pub lost: u64,
    /// What one every 25 s would have been in the same time.
    pub fixed_25_s: u64,
}

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Running, in no party.
    Idle,
    /// In a party, the control server being contacted for the first time.
    Connecting,
    /// In a party, the control server reachable.
    Connected,
    /// In a party, the control server not reachable: running tunnels go on.
    Disconnected,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    pub id: DeviceId,
    /// Name of the TUN interface.
    pub tun: String,
    /// The agent's UDP port.
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartyReport {
    pub id: PartyId,
    pub name: PartyName,
    /// This member's number and name.
    pub member: MemberId,
    pub member_name: MemberName,
    /// Whether this member is the host, and the host's name.
    pub is_host: bool,
    pub host: Option<MemberName>,
    pub members: usize,
    pub epoch: u32,
}

/// The NAT in front of this PC (RFC 4787 terms).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NatReport {
    pub mapping: Mapping,
    pub filtering: Filtering,
    /// What players call it, e.g. "port-restricted".
    pub kind: String,
    pub public_address: Option<SocketAddr>,
    /// The address the router opened on request (UPnP-IGD, NAT-PMP or PCP).
    pub port_mapping: Option<SocketAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// `host:port`; none outside a party.
    pub address: Option<String>,
    pub reachable: bool,
    /// Seconds since it became (un)reachable.
    pub since: Option<u64>,
    /// Why it is not reachable, in words.
    pub reason: Option<String>,
}
