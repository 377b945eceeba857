//! The relays this agent has sessions with, and which of them lead to whom.

use std::time::Instant;

use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::ids::{MemberId, RelayId};
use lanrage_shared::signal::MAX_RELAYS;

use super::{Engine, Peer};
use crate::batch::{RelayNumber, Route};

/// A round-trip time is told anew when it changed by this much: by a quarter and more than a few ms.
const CHANGE: f64 = 0.25;
const CHANGE_MS: f64 = 5.0;

/// A session of this agent's.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnRelay {
    pub number: RelayNumber,
    pub id: RelayId,
    pub rtt_ms: f64,
}

impl Engine {
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
        let shared = self.relays.iter().filter_map(|own| {
            let seat = peer.seats.iter().find(|seat| seat.relay == own.id)?;
            let route = Route::Relay {
                relay: own.number,
                member,
            };
            Some((route, own.rtt_ms + f64::from(seat.rtt_ms)))
        });
        let shared: Vec<(Route, f64)> = shared.collect();
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

    /// Relays that peers have seats at and this agent has not, the ones that would help most peers first.
    pub fn missing_relays(&self) -> Vec<RelayId> {
        let has = |id: &RelayId| self.relays.iter().any(|relay| relay.id == *id);
        let unreached = self
            .peers
            .values()
            .filter(|peer: &&Peer| !peer.seats.is_empty() && peer.seats.iter().all(|seat| !has(&seat.relay)));
        let mut missing: Vec<(usize, RelayId)> = Vec::new();
        for home in unreached.filter_map(|peer| peer.seats.first()) {
            match missing.iter_mut().find(|(_, id)| *id == home.relay) {
                Some((count, _)) => *count += 1,
                None => missing.push((1, home.relay.clone())),
            }
        }
        missing.sort_by(|a, b| b.cmp(a));
        missing.into_iter().map(|(_, id)| id).collect()
    }
}

fn is_about(told_ms: f64, now_ms: f64) -> bool {
    let change = (told_ms - now_ms).abs();
    change <= CHANGE_MS || change <= told_ms * CHANGE
}
