//! What the peers and the party are told of this PC, and what the peers tell of theirs.

use std::time::{Duration, Instant};

use lanrage_shared::api::game::Playing;
use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::MemberId;
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::signal::Signal;
use rand::RngCore;

use super::peer::Peer;
use super::signalling::Reach;
use super::{Engine, Event};

impl Engine {
    /// A signal the server passed on. One that the pair's keys do not open changes nothing.
    pub fn handle_signal(&mut self, from: MemberId, sealed: &str, now: Instant) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(signal) = peer.open_signal(sealed) else {
            tracing::debug!(peer = %from, "a signal that the pair's keys do not open");
            return;
        };
        if peer.signalling.handle_signal(&signal, now) {
            peer.nat = signal.nat;
            peer.seats.clone_from(&signal.relays);
            // Who only tells of other relays does not ask for another attempt; and there are many such signals.
            let asks = signal.wants_answer || peer.reach() == Reach::Not;
            if peer.heard != signal.candidates {
                peer.paths.handle_network_change();
            }
            if asks || peer.heard != signal.candidates {
                peer.heard.clone_from(&signal.candidates);
                self.try_addresses(from, signal.candidates, now);
            }
            self.find_relays(from, now);
            if let Some(guess) = signal.guess {
                self.handle_guess(from, guess, now);
            }
        }
    }

    pub(super) fn signal_if_due(&mut self, member: MemberId, now: Instant) {
        if !self.is_ready(now) {
            return;
        }
        let (nat, relays) = (self.nat_summary(), self.seats());
        let served = self.server_reachable == Some(true);
        if !self.peers.get(&member).is_some_and(|peer| self.may_signal(peer)) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        let through = peer
            .paths
            .selected()
            .map(|path| path.route)
            .filter(|route| route.relay().is_some());
        let Some(wants_answer) = peer.signalling.take_due(peer.reach(), now) else {
            return;
        };
        if !peer.paths.has_direct_path() {
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
            relays,
            candidates,
            guess: self.prediction.guess(member),
        };
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        self.events.push_back(Event::Signal {
            to: member,
            sealed: signal.seal(peer.signal_keys(), nonce),
            through: through.filter(|_| !served),
        });
    }

    /// Whether there is a way for signals: the server, or a relay. Without one they wait, however long they are due.
    pub(super) fn may_signal(&self, peer: &Peer) -> bool {
        self.server_reachable == Some(true) || peer.reach() == Reach::Relayed
    }

    pub(super) fn candidates_changed(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.signalling.handle_news(now);
        }
    }

    /// What is played on this PC, for the party, and the pause between keepalives that it asks for (none: the NAT's).
    pub fn handle_game(&mut self, playing: Option<Playing>, keepalive: Option<Duration>) {
        self.game_keepalive = keepalive;
        for peer in self.peers.values_mut() {
            peer.paths.handle_game(keepalive);
        }
        if self.playing != playing {
            self.playing = playing;
            self.tell_presence();
        }
    }

    pub(super) fn tell_presence(&mut self) {
        let presence = Presence {
            nat: self.nat_summary(),
            relays: self.seats(),
            agent_version: self.agent_version.clone(),
            game: self.playing.clone().map(Box::new),
        };
        if self.server_reachable == Some(true) && self.told_presence.as_ref() != Some(&presence) {
            self.told_presence = Some(presence.clone());
            self.events.push_back(Event::Presence(presence));
        }
    }
}
