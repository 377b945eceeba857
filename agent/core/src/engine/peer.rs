//! One peer: who it is, what it said, and the machines that reach it.

use std::net::SocketAddr;

use lanrage_shared::api::game::Playing;
use lanrage_shared::api::party::Member;
use lanrage_shared::api::presence::NatSummary;
use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::pair::PairKeys;
use lanrage_shared::signal::{Candidate, CandidateKind, Signal};

use super::signalling::{Reach, Signalling};
use crate::batch::PathInUse;
use crate::path::{PeerPaths, ProbeKeys};

pub(super) struct Peer {
    pub(super) member: Member,
    pub(super) keys: PairKeys,
    /// Those of the party secret before, until the peer shows that it knows the new one.
    pub(super) old_keys: Option<PairKeys>,
    pub(super) paths: PeerPaths,
    pub(super) signalling: Signalling,
    /// Addresses the peer named last, or remembered from before.
    pub(super) named: Vec<Candidate>,
    /// Addresses that it was reached at long ago, for when all else failed.
    pub(super) last_resort: Vec<Candidate>,
    /// All addresses of its last signal, those that may not be probed included.
    pub(super) heard: Vec<Candidate>,
    pub(super) nat: NatSummary,
    /// The relays it has sessions with, its home relay first.
    pub(super) seats: Vec<RelaySeat>,
    /// What it said it plays.
    pub(super) playing: Option<Playing>,
    /// The path last told to the driver.
    pub(super) told: Option<PathInUse>,
}

impl Peer {
    pub(super) fn new(member: Member, keys: PairKeys) -> Self {
        let paths = PeerPaths::new(ProbeKeys::of(&keys));
        let presence = member.presence.as_ref();
        let seats = presence.map(|presence| presence.relays.clone()).unwrap_or_default();
        let nat = presence.map(|presence| presence.nat).unwrap_or_default();
        Self {
            member,
            keys,
            old_keys: None,
            paths,
            signalling: Signalling::default(),
            named: Vec::new(),
            last_resort: Vec::new(),
            heard: Vec::new(),
            nat,
            seats,
            playing: None,
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

    /// What to seal signals with: what the peer has in any case.
    pub(super) fn signal_keys(&self) -> &PairKeys {
        self.old_keys.as_ref().unwrap_or(&self.keys)
    }

    /// Opens a signal with the keys of either secret.
    pub(super) fn open_signal(&self, sealed: &str) -> Option<Signal> {
        let keys = [Some(&self.keys), self.old_keys.as_ref()];
        keys.into_iter()
            .flatten()
            .find_map(|keys| Signal::open(sealed, keys).ok())
    }

    /// How it can be reached at the moment.
    pub(super) fn reach(&self) -> Reach {
        match self.paths.selected() {
            Some(path) if path.route.address().is_some() => Reach::Direct,
            Some(_) => Reach::Relayed,
            None => Reach::Not,
        }
    }

    /// Whether none of its addresses answers, or there is none.
    pub(super) fn has_failed(&self) -> bool {
        !self.has_path() && (self.named.is_empty() || !self.paths.is_first_attempt())
    }

    pub(super) fn has_path(&self) -> bool {
        self.paths.selected().is_some()
    }
}
