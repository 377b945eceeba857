//! The ways that are remembered for the next run: to which addresses each peer answered, which relays lead to it, and how far
//! every relay is.
//!
//! An agent that starts begins with what is here, before the control server said a word, and goes on so when it cannot be
//! reached. Times are party time in ms. What was last proven a day ago or longer is *stale*: routers have moved their mappings
//! and people their PCs by then, so it is not where to begin, but what is left when all else failed. A peer is known by its
//! key: under another one it is somebody else, of whom nothing is known.

mod peer;

use std::collections::BTreeMap;
use std::time::Duration;

use lanrage_shared::api::party::Member;
use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{MemberId, RelayId};
use serde::{Deserialize, Serialize};

use self::peer::KnownPeer;
pub use self::peer::{Proven, Remembered, Way};

/// What was not seen for this long is stale: a day, in ms.
pub const STALE_MS: u64 = 24 * 60 * 60 * 1000;
/// Relays remembered: more than a server offers at a time, because one that went away may come back.
const MAX_RELAYS: usize = 64;

/// What is known of the ways to peers and relays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCache {
    #[serde(default)]
    peers: BTreeMap<MemberId, KnownPeer>,
    #[serde(default)]
    relays: BTreeMap<RelayId, KnownRelay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownRelay {
    relay: Relay,
    /// Offered by the control server, or in use.
    seen_at_ms: u64,
    /// The last round trip, and when that was.
    rtt_ms: Option<u32>,
    measured_at_ms: u64,
}

impl ConnectionCache {
    /// Whether nothing is known, as when a party is used for the first time.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.relays.is_empty()
    }

    /// Who is in the party now. Whoever is not, or has another key, is forgotten.
    pub fn handle_members(&mut self, members: &[Member]) {
        self.peers.retain(|id, known| {
            let same = |member: &Member| member.id == *id && member.device_key == known.key;
            members.iter().any(same)
        });
    }

    /// How a peer is reached now. Gives whether that is news: something that the next run would begin with differently.
    pub fn handle_way(&mut self, member: MemberId, way: Way, now_ms: u64) -> bool {
        match self.peers.get_mut(&member) {
            Some(known) if known.key == way.key => known.handle_way(way, now_ms),
            _ => {
                let mut known = KnownPeer::new(way.key);
                known.handle_way(way, now_ms);
                self.peers.insert(member, known);
                true
            }
        }
    }

    /// What to begin with to reach a member.
    pub fn remembered(&self, member: &Member, now_ms: u64) -> Remembered {
        let known = self.peers.get(&member.id);
        let known = known.filter(|known| known.key == member.device_key);
        known.map(|known| known.remembered(now_ms)).unwrap_or_default()
    }

    /// What the control server offers now. A relay that is elsewhere now, or has another key, was never measured.
    pub fn handle_offer(&mut self, offered: &[Relay], now_ms: u64) {
        for relay in offered {
            let known = self.relays.entry(relay.id.clone());
            let known = known.or_insert_with(|| KnownRelay::new(relay.clone()));
            if !known.is_at(relay) {
                *known = KnownRelay::new(relay.clone());
            }
            known.relay.clone_from(relay);
            known.seen_at_ms = now_ms;
        }
        self.relays.retain(|_, known| !is_stale(known.seen_at_ms, now_ms));
        while self.relays.len() > MAX_RELAYS {
            let oldest = self.relays.iter().min_by_key(|(_, known)| known.seen_at_ms);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            self.relays.remove(&oldest);
        }
    }

    /// The round trip to a relay that there is a session with.
    pub fn handle_rtt(&mut self, relay: &RelayId, rtt: Duration, now_ms: u64) {
        if let Some(known) = self.relays.get_mut(relay) {
            known.rtt_ms = Some(u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX));
            (known.seen_at_ms, known.measured_at_ms) = (now_ms, now_ms);
        }
    }

    /// The relays to begin with.
    pub fn relays(&self, now_ms: u64) -> Vec<Relay> {
        let fresh = self.relays.values().filter(|known| !is_stale(known.seen_at_ms, now_ms));
        fresh.map(|known| known.relay.clone()).collect()
    }

    /// All relays there are to try when nothing else is left.
    pub fn all_relays(&self) -> Vec<Relay> {
        self.relays.values().map(|known| known.relay.clone()).collect()
    }

    /// How far the relays were.
    pub fn rtts(&self, now_ms: u64) -> BTreeMap<RelayId, Duration> {
        let fresh = self
            .relays
            .iter()
            .filter(|(_, known)| !is_stale(known.measured_at_ms, now_ms));
        let rtts = fresh.filter_map(|(id, known)| Some((id.clone(), Duration::from_millis(known.rtt_ms?.into()))));
        rtts.collect()
    }
}

impl KnownRelay {
    fn new(relay: Relay) -> Self {
        Self {
            relay,
            seen_at_ms: 0,
            rtt_ms: None,
            measured_at_ms: 0,
        }
    }

    fn is_at(&self, relay: &Relay) -> bool {
        (&self.relay.host, self.relay.port, self.relay.pin) == (&relay.host, relay.port, relay.pin)
    }
}

/// A time so far ahead comes from a clock that was wrong, and says nothing either.
fn is_stale(at_ms: u64, now_ms: u64) -> bool {
    now_ms.abs_diff(at_ms) >= STALE_MS
}

#[cfg(test)]
mod tests;
