//! What the agent counts, for a Prometheus on this PC. Off unless an address is given.
//!
//! Labels are reasons and kinds known beforehand, relays there is a session with (a handful), and peers by name: a party has 254
//! members at most, and no two have one name. Never keys or addresses.

use std::fmt;
use std::sync::Arc;

use lanrage_agent_core::broadcast::Counts;
use lanrage_agent_core::dataplane::PeerLink;
use lanrage_observe::metrics::{Out, Process, Source, text};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::command::{Command, Commands};
use crate::api::{AgentState, PathKind, PeerReport, RelaysReport, StatusReport};

/// The agent at one moment.
#[derive(Debug)]
pub struct Numbers {
    pub status: StatusReport,
    pub peers: Vec<PeerNumbers>,
    pub relays: RelaysReport,
    pub bridge: Counts,
}

/// One peer, with what reports leave out.
#[derive(Debug)]
pub struct PeerNumbers {
    pub report: PeerReport,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub path_changes: u64,
}

impl PeerNumbers {
    pub fn new(report: PeerReport, link: Option<&Arc<PeerLink>>) -> Self {
        let (rx_packets, tx_packets) = link.map(|link| link.packets()).unwrap_or_default();
        Self {
            report,
            rx_packets,
            tx_packets,
            path_changes: link.map(|link| link.path_changes()).unwrap_or_default(),
        }
    }
}

/// Asks the loop at each scrape.
pub struct FromLoop(pub Commands);

impl Source for FromLoop {
    async fn numbers(&self) -> Option<String> {
        let numbers = self.0.ask(Command::Numbers).await.ok()?;
        let mut registry = registry(*numbers);
        registry.register_collector(Box::new(Process));
        text(&registry).ok()
    }
}

fn registry(numbers: Numbers) -> Registry {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("lanrage_agent");
    ours.register_collector(Box::new(numbers));
    registry
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        out.build_info(env!("CARGO_PKG_VERSION"))?;
        self.encode_status(&mut out)?;
        self.encode_peers(&mut out)?;
        self.encode_relays(&mut out)?;
        self.encode_bridge(&mut out)
    }
}

impl Numbers {
    fn encode_status(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let status = &self.status;
        let is_connected = f64::from(status.state == AgentState::Connected);
        out.gauge("control_connected", "Whether the control stream stands", is_connected)?;
        let members = status.party.as_ref().map_or(0, |party| party.members);
        out.gauge("members", "Members of the party, this PC too", members as f64)?;
        let help = "Packets that went no further";
        out.counters("dropped_packets", help, labelled("reason", &status.drops))?;
        let help = "Packets that keep idle paths open";
        out.counter("keepalives_sent", help, status.keepalive.sent)?;
        let help = "Mappings that a router dropped in spite of keepalives";
        out.counter("keepalives_lost", help, status.keepalive.lost)?;
        let help = "Times the network adapter was put right";
        out.counters("adapter_repairs", help, labelled("kind", &status.lan.repairs))
    }

    fn encode_peers(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let kinds = [
            ("direct", PathKind::Direct),
            ("relay", PathKind::Relay),
            ("none", PathKind::None),
        ];
        let by_kind = kinds.map(|(label, kind)| {
            let count = self.peers.iter().filter(|peer| peer.report.path.kind == kind).count();
            ([("path", label)], count as f64)
        });
        out.gauges("peers", "Peers, by the path to them", by_kind)?;

        let quality = |of: fn(&PeerReport) -> Option<f64>| {
            let values = self.peers.iter().map(move |peer| (peer, of(&peer.report)));
            values.filter_map(|(peer, value)| Some((peer_is(peer), value?)))
        };
        let help = "Round-trip time of the path to a peer";
        let rtt = quality(|peer| Some(peer.path.rtt_ms? / 1000.0));
        out.gauges("peer_rtt_seconds", help, rtt)?;
        let help = "Standard deviation of the round-trip time to a peer";
        let jitter = quality(|peer| Some(peer.path.quality.as_ref()?.jitter_ms / 1000.0));
        out.gauges("peer_jitter_seconds", help, jitter)?;
        let help = "Part of the latest hundred probes to a peer that was not answered";
        let loss = quality(|peer| Some(peer.path.quality.as_ref()?.loss_percent / 100.0));
        out.gauges("peer_loss_ratio", help, loss)?;
        let help = "Quality of the path to a peer, from 0, unplayable, to 100";
        let score = quality(|peer| Some(f64::from(peer.path.quality.as_ref()?.score)));
        out.gauges("peer_quality_score", help, score)?;

        let count = |of: fn(&PeerNumbers) -> u64| self.peers.iter().map(move |peer| (peer_is(peer), of(peer)));
        let help = "Bytes from a peer's tunnel, encrypted";
        out.counters("peer_received_bytes", help, count(|peer| peer.report.rx_bytes))?;
        let help = "Bytes into a peer's tunnel, encrypted";
        out.counters("peer_sent_bytes", help, count(|peer| peer.report.tx_bytes))?;
        let help = "Packets from a peer's tunnel";
        out.counters("peer_received_packets", help, count(|peer| peer.rx_packets))?;
        let help = "Packets into a peer's tunnel";
        out.counters("peer_sent_packets", help, count(|peer| peer.tx_packets))?;
        let help = "Times that packets to a peer took another path";
        out.counters("peer_path_changes", help, count(|peer| peer.path_changes))
    }

    fn encode_relays(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let in_use = || self.relays.relays.iter().filter(|relay| relay.connected);
        let help = "Whether a relay there is a session with is the home relay";
        let home = in_use().map(|relay| ([("relay", relay.id.as_str())], f64::from(relay.home)));
        out.gauges("relay_home", help, home)?;
        let help = "Round-trip time to a relay there is a session with";
        let rtt = in_use().filter_map(|relay| Some(([("relay", relay.id.as_str())], relay.rtt_ms? / 1000.0)));
        out.gauges("relay_rtt_seconds", help, rtt)?;
        let help = "Peers whose packets go through a relay";
        let peers = in_use().map(|relay| ([("relay", relay.id.as_str())], relay.peers as f64));
        out.gauges("relay_peers", help, peers)
    }

    fn encode_bridge(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Counts {
            sent,
            received,
            not_sent,
            not_received,
        } = &self.bridge;
        let help = "Broadcasts and multicasts of this PC passed on to the party";
        out.counter("bridge_sent_datagrams", help, *sent)?;
        let help = "Broadcasts and multicasts of the party given to this PC";
        out.counter("bridge_received_datagrams", help, *received)?;
        let help = "Packets of this PC to everybody that were not passed on";
        let refused = not_sent.iter().map(|(why, count)| ([("reason", why.label())], *count));
        out.counters("bridge_not_sent_packets", help, refused)?;
        let help = "Packets of the party to everybody that were not given to this PC";
        let refused = not_received
            .iter()
            .map(|(why, count)| ([("reason", why.label())], *count));
        out.counters("bridge_not_received_packets", help, refused)
    }
}

fn peer_is(peer: &PeerNumbers) -> [(&'static str, &str); 1] {
    [("peer", peer.report.name.as_str())]
}

fn labelled<'a>(
    label: &'static str,
    counts: &'a std::collections::BTreeMap<String, u64>,
) -> impl Iterator<Item = ([(&'static str, &'a str); 1], u64)> {
    counts
        .iter()
        .map(move |(name, count)| ([(label, name.as_str())], *count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lanrage_agent_core::broadcast::Rejection;
    use serde_json::json;

    use super::*;

    /// What deploy/ knows of the agent's numbers.
    const EXAMPLE: &str = include_str!("../../../deploy/prometheus/agent-metrics.txt");

    fn status(state: &str, party: serde_json::Value) -> StatusReport {
        serde_json::from_value(json!({
            "state": state, "version": "0.1.0",
            "device": {"id": "00000000000000000000000000000000", "tun": "lanrage0", "port": 4000},
            "party": party, "virtual_ip": null, "virtual_ip6": null,
            "nat": {"mapping": "unknown", "filtering": "unknown", "kind": "", "public_address": "203.0.113.2:4000",
                "port_mapping": null},
            "server": {"address": "vps.example:8443", "reachable": true, "since": 1, "reason": null},
            "keepalive": {"pause_s": 15, "sent": 20, "lost": 1},
            "lan": {"repairs": {"metric": 2}, "last_repair": null},
            "drops": {"no_path": 3, "malformed": 0}, "warnings": [],
        }))
        .unwrap()
    }

    fn peer(name: &str, path: serde_json::Value) -> PeerNumbers {
        let report = json!({
            "name": name, "member": 1, "virtual_ip": "10.64.0.1", "virtual_ip6": "fd00::1", "online": true, "path": path,
            "rx_bytes": 100, "tx_bytes": 200, "last_handshake_s": 3, "reason": null,
        });
        PeerNumbers {
            report: serde_json::from_value(report).unwrap(),
            rx_packets: 1,
            tx_packets: 2,
            path_changes: 4,
        }
    }

    fn in_a_party() -> Numbers {
        let party = json!({
            "id": "00000000-0000-7000-8000-000000000001", "name": "Friday", "member": 2, "member_name": "Ben",
            "is_host": false, "host": "Anna", "members": 3, "epoch": 1,
        });
        let direct = json!({
            "kind": "direct", "address": "203.0.113.1:4000", "rtt_ms": 12.5, "since": 9,
            "quality": {"score": 90, "jitter_ms": 0.5, "loss_percent": 1.5, "trend": "stable"},
        });
        let none = json!({"kind": "none", "address": null, "rtt_ms": null, "since": null});
        let relays = json!({"party": "Friday", "relays": [
            {"id": "fra-1", "region": "eu-west", "load": 20, "connected": true, "home": true, "rtt_ms": 9.5, "peers": 1, "why": ""},
            {"id": "nyc-1", "region": "us-east", "load": 20, "connected": false, "home": false, "rtt_ms": 90, "peers": 0, "why": ""},
        ]});
        Numbers {
            status: status("connected", party),
            peers: vec![peer("Anna", direct), peer("the \"other\" Ben", none)],
            relays: serde_json::from_value(relays).unwrap(),
            bridge: Counts {
                sent: 5,
                received: 6,
                not_sent: BTreeMap::from([(Rejection::PortNotAllowed, 7)]),
                not_received: BTreeMap::from([(Rejection::Duplicate, 8)]),
            },
        }
    }

    #[test]
    fn what_deploy_knows_of_the_agents_numbers_is_true() {
        let text = text(&registry(in_a_party())).unwrap();
        assert_eq!(
            text, EXAMPLE,
            "put this into deploy/prometheus/agent-metrics.txt:\n{text}"
        );
    }

    #[test]
    fn neither_addresses_nor_keys_are_in_it() {
        for secret in ["203.0.113", "10.64.0", "fd00::", "vps.example", "00000000"] {
            assert!(!EXAMPLE.contains(secret), "{secret}");
        }
    }

    #[test]
    fn a_fresh_agent_has_numbers_too() {
        let fresh = Numbers {
            status: status("idle", serde_json::Value::Null),
            peers: Vec::new(),
            relays: RelaysReport {
                party: None,
                relays: Vec::new(),
            },
            bridge: Counts::default(),
        };
        let text = text(&registry(fresh)).unwrap();
        for line in [
            "lanrage_agent_build_info{version=",
            "lanrage_agent_control_connected 0",
            "lanrage_agent_members 0",
            "lanrage_agent_peers{path=\"direct\"} 0",
            "lanrage_agent_dropped_packets_total{reason=\"no_path\"} 3",
            "lanrage_agent_bridge_sent_datagrams_total 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
