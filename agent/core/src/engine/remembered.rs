//! What outlives a run: the ways to the peers, as they go into the cache and come out of it; and looking at everything anew.

use std::time::Instant;

use lanrage_shared::ids::MemberId;

use super::Engine;
use crate::cache::{Remembered, Way};

impl Engine {
    /// How a peer was reached before this run.
    pub fn handle_remembered(&mut self, member: MemberId, remembered: Remembered, now: Instant) {
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        let (own, net) = (&self.own, &self.net);
        peer.last_resort = remembered.stale;
        peer.last_resort
            .retain(|candidate| own.may_probe(&candidate.address, net));
        if !remembered.relays.is_empty() {
            peer.seats = remembered.relays;
        }
        self.try_addresses(member, remembered.addresses, now);
    }

    /// Without a server to ask, and with no fresh address that answers, those of long ago are all there is.
    pub(super) fn try_last_resort(&mut self, now: Instant) {
        if self.server_reachable != Some(false) {
            return;
        }
        let failed = self.peers.values_mut().filter(|peer| peer.has_failed());
        for peer in failed.filter(|peer| !peer.last_resort.is_empty()) {
            peer.named.append(&mut peer.last_resort);
            peer.paths.handle_candidates(&peer.named, now);
        }
    }

    /// How peers are reached now: what the next run begins with.
    pub fn ways(&self) -> impl Iterator<Item = (MemberId, Way)> + '_ {
        self.peers.iter().filter_map(|(member, peer)| {
            let addresses = peer.paths.proven();
            if addresses.is_empty() && !peer.has_path() {
                return None;
            }
            let in_use = peer.paths.selected().and_then(|path| path.route.relay());
            let in_use = in_use.and_then(|number| self.relay_name(number));
            let mut relays = peer.seats.clone();
            relays.sort_by_key(|seat| Some(&seat.relay) != in_use);
            let way = Way {
                key: peer.member.device_key,
                addresses,
                relays,
            };
            Some((*member, way))
        })
    }

    /// Somebody wants to know how things are now: the NAT is measured again, every peer is told where this PC is and asked
    /// where it is, and every address is tried again. What works goes on meanwhile.
    pub fn handle_refresh(&mut self, now: Instant) {
        self.measure_again(now);
        for peer in self.peers.values_mut() {
            peer.signalling.handle_refresh(now);
            peer.paths.handle_candidates(&peer.named, now);
        }
        self.told_presence = None;
        self.tell_presence();
    }
}
