//! What is remembered of one peer.

use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::ids::DeviceKey;
use lanrage_shared::signal::{Candidate, CandidateKind, MAX_RELAYS};
use serde::{Deserialize, Serialize};

use super::is_stale;

/// Addresses remembered of a peer: a few for each network it plays from.
const MAX_ADDRESSES: usize = 8;

/// An address of a peer's that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    pub candidate: Candidate,
    /// Smoothed round-trip time.
    pub rtt_ms: u16,
    /// From 0, unplayable, to 100.
    pub score: u8,
}

/// How a peer is reached at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Who it is.
    pub key: DeviceKey,
    /// Addresses that answer, the one in use first.
    pub addresses: Vec<Proven>,
    /// The relays that lead to it, the one in use first.
    pub relays: Vec<RelaySeat>,
}

/// What to begin with to reach a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Addresses to try at once, best first.
    pub addresses: Vec<Candidate>,
    /// Addresses to try when nothing else is left.
    pub stale: Vec<Candidate>,
    /// The relays that led to it. There are no stale ones: no relay token lasts a day, and whoever gives another tells where
    /// the peer is.
    pub relays: Vec<RelaySeat>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPeer {
    pub(super) key: DeviceKey,
    /// Best first.
    addresses: Vec<KnownAddress>,
    relays: Vec<RelaySeat>,
    relays_at_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownAddress {
    candidate: Candidate,
    proven_at_ms: u64,
    rtt_ms: u16,
    score: u8,
}

impl KnownPeer {
    pub(super) fn new(key: DeviceKey) -> Self {
        Self {
            key,
            addresses: Vec::new(),
            relays: Vec::new(),
            relays_at_ms: 0,
        }
    }

    /// Takes what works now, before what worked once.
    pub(super) fn handle_way(&mut self, way: Way, now_ms: u64) -> bool {
        let before = self.begins_with();
        let now: Vec<KnownAddress> = way.addresses.iter().map(|proven| known(*proven, now_ms)).collect();
        let is_old = |known: &KnownAddress| now.iter().all(|new| new.candidate.address != known.candidate.address);
        let mut old: Vec<KnownAddress> = self.addresses.drain(..).filter(is_old).collect();
        old.sort_by(|a, b| (b.proven_at_ms, b.score, a.rtt_ms).cmp(&(a.proven_at_ms, a.score, b.rtt_ms)));
        self.addresses = now.into_iter().chain(old).take(MAX_ADDRESSES).collect();
        if !way.relays.is_empty() {
            self.relays = way.relays;
            self.relays.truncate(MAX_RELAYS);
            self.relays_at_ms = now_ms;
        }
        self.begins_with() != before
    }

    pub(super) fn remembered(&self, now_ms: u64) -> Remembered {
        let (stale, fresh): (Vec<_>, Vec<_>) = self
            .addresses
            .iter()
            .partition(|known| is_stale(known.proven_at_ms, now_ms));
        let candidates = |known: Vec<&KnownAddress>| known.iter().map(|known| known.candidate).collect();
        Remembered {
            addresses: candidates(fresh),
            stale: candidates(stale),
            relays: if is_stale(self.relays_at_ms, now_ms) {
                Vec::new()
            } else {
                self.relays.clone()
            },
        }
    }

    /// What decides how the next run begins; numbers that change all the time are not part of it.
    fn begins_with(&self) -> (Vec<Candidate>, Vec<String>) {
        let addresses = self.addresses.iter().map(|known| known.candidate).collect();
        let relays = self.relays.iter().map(|seat| seat.relay.to_string()).collect();
        (addresses, relays)
    }
}

fn known(proven: Proven, now_ms: u64) -> KnownAddress {
    let Candidate { kind, address } = proven.candidate;
    KnownAddress {
        candidate: Candidate {
            // Where a probe came from is where the peer's router sends from.
            kind: kind.min(CandidateKind::Mapped),
            address,
        },
        proven_at_ms: now_ms,
        rtt_ms: proven.rtt_ms,
        score: proven.score,
    }
}
