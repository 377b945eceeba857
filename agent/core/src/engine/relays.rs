//! The relays this agent has sessions with, and which of them lead to whom.

use std::time::{Duration, Instant};

use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::ids::{MemberId, RelayId};
use lanrage_shared::signal::MAX_RELAYS;

use super::{Engine, Peer};
use crate::batch::{RelayNumber, Route};
use crate::path::RelayRoute;
use crate::relays::{KnownRelay, Role, load_cost};

/// A round-trip time is told anew when it changed by this much: by a quarter and more than a few ms.
const CHANGE: f64 = 0.25;
const CHANGE_MS: f64 = 5.0;
/// Of a peer's relays, those that it has for its own sake: home and spare. The others it keeps for peers and may leave.
const OWN: usize = 2;
/// A session of its own is begun for a peer when it is nearer by this, there and back, than any relay both have anyway: less is
/// not worth what the session costs.
const GAIN_MS: f64 = 20.0;
/// And kept while it is nearer by this.
const KEPT_GAIN_MS: f64 = 5.0;

/// A session of this agent's.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnRelay {
    pub number: RelayNumber,
    pub id: RelayId,
    pub rtt_ms: f64,
}

impl Engine {
    /// All relays that are offered, as known now. To be told before [`Engine::handle_relays`].
    pub fn handle_known_relays(&mut self, known: Vec<KnownRelay>, now: Instant) {
        let loads = |known: &[KnownRelay]| -> Vec<(RelayId, u8)> {
            let loads = known.iter().map(|known| (known.relay.id.clone(), known.relay.load));
            loads.collect()
        };
        let mut before = loads(&self.known_relays);
        let mut after = loads(&known);
        before.sort();
        after.sort();
        self.known_relays = known;
        if before != after {
            let members: Vec<MemberId> = self.peers.keys().copied().collect();
            for member in members {
                self.find_relays(member, now);
            }
        }
    }

    /// The sessions there are now, the home relay first.
    pub fn handle_relays(&mut self, mut relays: Vec<OwnRelay>, now: Instant) {
        for relay in &mut relays {
            let told = self.relays.iter().find(|known| known.number == relay.number);
            if let Some(told) = told.filter(|told| is_about(told.rtt_ms, relay.rtt_ms)) {
                relay.rtt_ms = told.rtt_ms;
            }
        }
        if self.relays == relays {
            return;
        }
        let lost: Vec<RelayNumber> = self
            .relays
            .iter()
            .map(|known| known.number)
            .filter(|number| relays.iter().all(|relay| relay.number != *number))
            .collect();
        self.relays = relays;
        let members: Vec<MemberId> = self.peers.keys().copied().collect();
        for member in members {
            self.with_paths(member, now, |peer, cx| {
                for number in &lost {
                    peer.paths.handle_relay_lost(*number, cx.now);
                }
            });
            self.find_relays(member, now);
        }
        self.candidates_changed(now);
        self.tell_presence();
    }

    /// A relay could not pass something on: the peer has no session with it.
    pub fn handle_undelivered(&mut self, relay: RelayNumber, member: MemberId, now: Instant) {
        self.with_paths(member, now, |peer, cx| peer.paths.handle_undelivered(relay, cx.now));
    }

    /// Works out which relays lead to a peer.
    pub(super) fn find_relays(&mut self, member: MemberId, now: Instant) {
        let Some(peer) = self.peers.get(&member) else { return };
        let in_use = peer.paths.selected().map(|path| path.route);
        let shared = self.relays.iter().filter_map(|own| {
            let seat = peer.seats.iter().find(|seat| seat.relay == own.id)?;
            let route = Route::Relay {
                relay: own.number,
                member,
            };
            Some(RelayRoute {
                route,
                rtt_ms: own.rtt_ms + f64::from(seat.rtt_ms),
                load_ms: self.load_ms(&own.id, in_use == Some(route)),
            })
        });
        let shared: Vec<RelayRoute> = shared.collect();
        self.with_paths(member, now, |peer, cx| peer.paths.handle_relays(&shared, cx.now));
        self.tell_signalling(member, now);
    }

    /// Where this agent has seats, for presence and signals.
    pub(super) fn seats(&self) -> Vec<RelaySeat> {
        let seats = self.relays.iter().take(MAX_RELAYS).map(|relay| RelaySeat {
            relay: relay.id.clone(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float is cast with saturation, which is what is meant"
            )]
            rtt_ms: relay.rtt_ms.round() as u16,
        });
        seats.collect()
    }

    /// The sessions there are, the home relay first.
    pub fn relays(&self) -> &[OwnRelay] {
        &self.relays
    }

    /// The name of a relay in use.
    pub fn relay_name(&self, number: RelayNumber) -> Option<&RelayId> {
        let relay = self.relays.iter().find(|relay| relay.number == number);
        relay.map(|relay| &relay.id)
    }

    /// All relays that are offered, those in use first.
    pub fn known_relays(&self) -> &[KnownRelay] {
        &self.known_relays
    }

    /// Relays that lead to peers which this agent's home and spare do not lead to, or by a detour; the ones that would help most
    /// peers first. They stay named while that is so, whether there is a session by now or not.
    pub fn missing_relays(&self) -> Vec<RelayId> {
        let mut missing: Vec<(usize, &RelayId)> = Vec::new();
        for id in self.peers.values().filter_map(|peer| self.missing_for(peer)) {
            match missing.iter_mut().find(|(_, known)| *known == id) {
                Some((count, _)) => *count += 1,
                None => missing.push((1, id)),
            }
        }
        missing.sort_by(|a, b| b.cmp(a));
        missing.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// The relay of a peer's own that a session should be begun with, or kept, for it.
    fn missing_for<'a>(&self, peer: &'a Peer) -> Option<&'a RelayId> {
        let own = self.relays.iter().filter(|own| !self.is_for_peers(&own.id));
        let theirs = || peer.seats.iter().take(OWN);
        let shared = own.filter_map(|own| {
            let seat = theirs().find(|seat| seat.relay == own.id)?;
            Some(self.cost_ms(seat, own.rtt_ms))
        });
        let Some(shared_ms) = shared.min_by(f64::total_cmp) else {
            let works = |seat: &&RelaySeat| self.known(&seat.relay).is_none_or(|known| known.failure.is_none());
            return theirs().find(works).or(theirs().next()).map(|seat| &seat.relay);
        };
        if peer.paths.has_direct_path() {
            return None;
        }
        let better = theirs().filter_map(|seat| {
            let known = self.known(&seat.relay)?;
            let cost = self.cost_ms(seat, millis(known.rtt.filter(|_| known.failure.is_none())?));
            let gain = if known.role == Role::ForPeers {
                KEPT_GAIN_MS
            } else {
                GAIN_MS
            };
            (cost + gain < shared_ms).then_some((cost, &seat.relay))
        });
        better.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
    }

    /// There and back through a relay that is `rtt_ms` away, and its load.
    fn cost_ms(&self, seat: &RelaySeat, rtt_ms: f64) -> f64 {
        rtt_ms + f64::from(seat.rtt_ms) + self.load_ms(&seat.relay, false)
    }

    fn load_ms(&self, relay: &RelayId, in_use: bool) -> f64 {
        let cost = self.known(relay).map(|known| load_cost(known.relay.load, in_use));
        millis(cost.unwrap_or_default())
    }

    fn is_for_peers(&self, relay: &RelayId) -> bool {
        self.known(relay).is_some_and(|known| known.role == Role::ForPeers)
    }

    fn known(&self, relay: &RelayId) -> Option<&KnownRelay> {
        self.known_relays.iter().find(|known| known.relay.id == *relay)
    }

    /// Whether this is a way through a relay that is not in use any more. Its session still stands, for packets that are on their
    /// way; whoever probes it learns by the silence to take another.
    pub(super) fn is_left(&self, route: Route) -> bool {
        let number = route.relay();
        number.is_some_and(|number| self.relays.iter().all(|relay| relay.number != number))
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn is_about(told_ms: f64, now_ms: f64) -> bool {
    let change = (told_ms - now_ms).abs();
    change <= CHANGE_MS || change <= told_ms * CHANGE
}
