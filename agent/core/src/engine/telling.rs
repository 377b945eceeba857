//! What the peers and the party are told of this PC, and what the peers tell of theirs.

use std::time::Instant;

use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::MemberId;
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::signal::Signal;
use rand::RngCore;

use super::{Engine, Event};

impl Engine {
    /// A signal the server passed on. One that the pair's keys do not open changes nothing.
    pub fn handle_signal(&mut self, from: MemberId, sealed: &str, now: Instant) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Ok(signal) = Signal::open(sealed, &peer.keys) else {
            tracing::debug!(peer = %from, "a signal that the pair's keys do not open");
            return;
        };
        if peer.signalling.handle_signal(&signal, now) {
            peer.nat = signal.nat;
            self.try_addresses(from, signal.candidates, now);
        }
    }

    pub(super) fn signal_if_due(&mut self, member: MemberId, now: Instant) {
        if self.server_reachable != Some(true) || !self.is_ready(now) {
            return;
        }
        let nat = self.nat_summary();
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        let Some(wants_answer) = peer.signalling.take_due(peer.has_path(), now) else {
            return;
        };
        if !peer.has_path() {
            // Both sides probe while the signal travels: that is what opens the NATs.
            peer.paths.handle_candidates(&peer.named, now);
        }
        self.generation += 1;
        let candidates = self.own.candidates(&self.net);
        let signal = Signal {
            generation: self.generation,
            run: self.run,
            wants_answer,
            nat,
            relays: Vec::new(),
            candidates,
        };
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        self.events.push_back(Event::Signal {
            to: member,
            sealed: signal.seal(&peer.keys, nonce),
        });
    }

    pub(super) fn candidates_changed(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.signalling.handle_candidates_changed(now);
        }
    }

    pub(super) fn tell_presence(&mut self) {
        let nat = self.nat_summary();
        if self.server_reachable == Some(true) && self.told_presence != Some(nat) {
            self.told_presence = Some(nat);
            self.events.push_back(Event::Presence(Presence {
                nat,
                relays: Vec::new(),
                agent_version: self.agent_version.clone(),
            }));
        }
    }
}
