//! What a session remembers for the next one, what it begins with, and when it looks at everything anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanrage_agent_core::cache::STALE_MS;
use lanrage_agent_core::engine::Engine;
use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::RelayId;

use super::{PartySession, wall_ms};
use crate::state::PartyCache;

/// Without any news the cache is written this often, so that what is remembered is not older than it has to be.
const SAVE_INTERVAL: Duration = Duration::from_secs(3600);

/// What is known of relays before the first word of the control server.
pub(super) struct Beginning {
    pub relays: Vec<Relay>,
    pub rtts: BTreeMap<RelayId, Duration>,
}

/// Hands the engine what is remembered of the peers.
pub(super) fn begin(cache: &mut PartyCache, engine: &mut Engine, now: Instant) -> Beginning {
    let now_ms = server_ms(cache);
    if cache.connections.is_empty() {
        // The first use, or a file from before this was kept: the server has just named its relays, or nobody knows when.
        cache.connections.handle_offer(&cache.services.relays, now_ms);
    }
    cache.connections.handle_members(&cache.party.members);
    for member in &cache.party.members {
        engine.handle_remembered(member.id, cache.connections.remembered(member, now_ms), now);
    }
    Beginning {
        relays: cache.connections.relays(now_ms),
        rtts: cache.connections.rtts(now_ms),
    }
}

impl PartySession {
    /// Keeps the ways that work: where an agent that restarts without its server begins. News at once, so that a path anybody
    /// has been told of outlives a crash.
    pub(super) fn remember_paths(&mut self, now: Instant) {
        let now_ms = server_ms(&self.cache);
        let mut is_news = false;
        for (member, way) in self.engine.ways() {
            is_news |= self.cache.connections.handle_way(member, way, now_ms);
        }
        if is_news || self.saved + SAVE_INTERVAL <= now {
            self.save_at = Some(now);
        }
    }

    /// Keeps which relays there are and how far they are.
    pub(super) fn remember_relays(&mut self) {
        let now_ms = server_ms(&self.cache);
        let connections = &mut self.cache.connections;
        if self.server_reachable {
            connections.handle_offer(&self.cache.services.relays, now_ms);
        }
        for relay in self.engine.relays() {
            let rtt = Duration::from_secs_f64(relay.rtt_ms.max(0.0) / 1000.0);
            connections.handle_rtt(&relay.id, rtt, now_ms);
        }
    }

    pub(super) fn offer_relays(&mut self, relays: Vec<Relay>) {
        if self.offered != relays {
            self.offered.clone_from(&relays);
            self.relays.offer(relays);
        }
    }

    /// The control server, which would name others, cannot be reached: all relays ever known may be tried, unless it has named
    /// some in this run.
    pub(super) fn offer_all_relays(&mut self) {
        if self.server_problem.is_none() && !self.server_reachable {
            self.offer_relays(self.cache.connections.all_relays());
        }
    }

    /// Looks at everything anew: what the NAT is like, where everybody is, how far the relays are.
    pub fn refresh(&mut self, now: Instant) {
        tracing::info!("looking at everything anew");
        self.looked_anew = now;
        self.services_changed = true;
        self.stream.hurry();
        self.relays.refresh();
        self.engine.handle_refresh(now);
    }

    pub(super) fn refresh_if_stale(&mut self, now: Instant) {
        if self.looked_anew + Duration::from_millis(STALE_MS) <= now {
            self.refresh(now);
        }
    }
}

/// The server's time, as far as it is known.
fn server_ms(cache: &PartyCache) -> u64 {
    u64::try_from(wall_ms().saturating_add(cache.clock_offset_ms)).unwrap_or_default()
}
