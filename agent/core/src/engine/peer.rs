//! One peer: who it is, what it said, and the machines that reach it.

use std::net::SocketAddr;

use lanrage_shared::api::party::Member;
use lanrage_shared::api::presence::NatSummary;
use lanrage_shared::pair::PairKeys;
use lanrage_shared::signal::{Candidate, CandidateKind};

use super::signalling::Signalling;
use crate::path::PeerPaths;

pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) keys: PairKeys,
    pub(super) paths: PeerPaths,
    pub(super) signalling: Signalling,
    /// Addresses the peer named last, or remembered from before.
    pub(super) named: Vec<Candidate>,
    pub(super) nat: NatSummary,
    /// The path last told to the driver.
    pub(super) told: Option<SocketAddr>,
}

impl Peer {
    pub(super) fn new(member: Member, keys: PairKeys) -> Self {
        let paths = PeerPaths::new(keys.probe_send.clone(), keys.probe_receive.clone());
        let nat = member
            .presence
            .as_ref()
            .map(|presence| presence.nat)
            .unwrap_or_default();
        Self {
            member,
            keys,
            paths,
            signalling: Signalling::default(),
            named: Vec::new(),
            nat,
            told: None,
        }
    }

    /// Whether a STUN server saw this peer under the same address as `ours`, another port aside.
    pub(super) fn is_seen_at(&self, ours: Option<SocketAddr>) -> bool {
        let mut mapped = self
            .named
            .iter()
            .filter(|candidate| candidate.kind == CandidateKind::Mapped);
        ours.is_some_and(|ours| mapped.any(|candidate| candidate.address.ip() == ours.ip()))
    }

    pub(super) fn has_path(&self) -> bool {
        self.paths.selected().is_some()
    }
}
