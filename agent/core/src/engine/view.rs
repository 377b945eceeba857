//! What people and the cache get to see of the peers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use lanrage_shared::api::game::Playing;
use lanrage_shared::api::party::Member;
use lanrage_shared::api::presence::{Mapping, NatSummary};
use lanrage_shared::ids::RelayId;
use lanrage_shared::signal::CandidateKind;

use super::Engine;
use super::reason::{self, Circumstances};
use crate::nat::{Discovery, NatReport};
use crate::path::{KeepaliveCounts, PathKind, Selected};

/// A peer as `peers` shows it.
#[derive(Debug, Clone)]
pub struct PeerView {
    pub member: Member,
    pub online: bool,
    pub path: Option<Selected>,
    /// Why there is no path, or none but through a relay.
    pub reason: Option<String>,
    /// The relay its packets go through.
    pub relay: Option<RelayId>,
    /// What it plays, while the server hears of it.
    pub playing: Option<Playing>,
}

impl Engine {
    /// What the NAT in front of this PC is like.
    pub fn nat(&self) -> &NatReport {
        &self.nat
    }

    /// Whether the server named STUN servers.
    pub fn has_stun(&self) -> bool {
        self.discovery.as_ref().is_some_and(Discovery::has_servers)
    }

    /// Whether no STUN server answers although UDP gets through: a peer is reached beyond the local network.
    pub fn is_stun_silent(&self) -> bool {
        self.nat.mapping == Mapping::Blocked
            && self.peers.values().any(|peer| {
                let path = peer.paths.selected();
                path.is_some_and(|path| matches!(path.kind, PathKind::Direct(kind) if kind != CandidateKind::Lan))
            })
    }

    /// What the party is told of it.
    pub fn nat_summary(&self) -> NatSummary {
        NatSummary {
            // Silence of a server that is away says nothing of this network.
            mapping: match self.nat.mapping {
                Mapping::Blocked if self.is_stun_silent() || self.server_reachable == Some(false) => Mapping::Unknown,
                mapping => mapping,
            },
            filtering: self.nat.filtering,
            port_mapping: self.own.port_mapped.is_some(),
        }
    }

    /// This PC's interface addresses.
    pub fn interfaces(&self) -> &[SocketAddr] {
        &self.own.interfaces
    }

    /// What the router opened on request.
    pub fn port_mapping(&self) -> Option<SocketAddr> {
        self.own.port_mapped
    }

    /// What keeping idle paths open costs: the shortest pause between keepalives, and how many there were behind each kind of
    /// NAT this PC was behind.
    pub fn keepalives(&self) -> (Option<Duration>, BTreeMap<&'static str, KeepaliveCounts>) {
        let mut sums: BTreeMap<&'static str, KeepaliveCounts> = BTreeMap::new();
        let mut shortest = None;
        for peer in self.peers.values() {
            let (pause, counts) = peer.paths.keepalive();
            for (nat, counts) in counts {
                sums.entry(nat).or_default().add(counts);
            }
            if peer.paths.has_direct_path() {
                shortest = Some(shortest.map_or(pause, |shortest: Duration| shortest.min(pause)));
            }
        }
        (shortest, sums)
    }

    /// The peers, by number.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> + '_ {
        self.peers.values().map(|peer| {
            let path = peer.paths.selected();
            let online = peer.member.online && self.server_reachable == Some(true) || path.is_some();
            let relay = path.and_then(|path| self.relay_name(path.route.relay()?));
            let reason = (!peer.paths.has_direct_path()).then(|| {
                reason::explain(Circumstances {
                    relay: relay.map(RelayId::as_str),
                    left_for_relay: peer.paths.left_for_relay(),
                    peer_name: peer.member.name.as_str(),
                    peer_online: online,
                    server_reachable: self.server_reachable,
                    has_stun: self.has_stun(),
                    first_attempt: peer.paths.is_first_attempt() || self.prediction.is_trying(peer.member.id),
                    same_public_ip: peer.is_seen_at(self.own.mapped),
                    mine: self.nat_summary(),
                    theirs: peer.nat,
                })
            });
            let served = self.server_reachable == Some(true) && peer.member.online;
            PeerView {
                playing: peer.playing.clone().filter(|_| served),
                member: peer.member.clone(),
                online,
                path,
                reason,
                relay: relay.cloned(),
            }
        })
    }
}
