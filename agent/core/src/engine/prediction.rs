//! Peers that only guessed ports lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use lanrage_shared::api::presence::{Filtering, NatSummary};
use lanrage_shared::ids::MemberId;
use lanrage_shared::signal::{CandidateKind, PortGuess};

use super::peer::Peer;
use super::{Engine, Event, reason};
use crate::batch::{Packet, SideNumber};
use crate::nat::prediction::{self, Transmit};

impl Engine {
    /// Whether a datagram answers a question about how ports are given out.
    pub(super) fn handle_sounded(&mut self, packet: &Packet, now: Instant) -> bool {
        self.prediction.handle_datagram(packet.peer, &packet.data, now)
    }

    /// A peer's guess counts where this PC is the one that can be found, for the address that the peer named anyway.
    pub(super) fn handle_guess(&mut self, from: MemberId, guess: PortGuess, now: Instant) {
        let Some(peer) = self.peers.get(&from) else { return };
        let named = public_addresses(peer).any(|address| address.ip() == guess.address);
        if named && !peer.paths.knows_direct_way(now) && leads_only_a_guess(peer.nat, self.nat_summary()) {
            self.prediction.handle_guess(from, guess, now);
        }
    }

    /// Runs what is due of guessing.
    pub(super) fn predict(&mut self, now: Instant) {
        let mine = self.nat_summary();
        let (mut wanted, mut direct) = (BTreeMap::new(), BTreeSet::new());
        for (member, peer) in &self.peers {
            if peer.paths.knows_direct_way(now) {
                direct.insert(*member);
            } else if leads_only_a_guess(mine, peer.nat)
                && peer.signalling.is_online()
                && self.may_signal(peer)
                && let Some(address) = public_addresses(peer).next()
            {
                wanted.insert(*member, address);
            }
        }
        self.prediction.handle_direct(&direct, now);
        self.prediction.handle_wanted(wanted, now);
        self.prediction.handle_timeout(&mut self.rng, now);
        while let Some(transmit) = self.prediction.poll_transmit() {
            let packet = match transmit {
                Transmit::Question(packet) => Some(packet),
                Transmit::Probe { member, route } => {
                    let probe = self.with_paths(member, now, |peer, cx| peer.paths.probe_for(route, cx));
                    probe.flatten()
                }
            };
            self.guessing.extend(packet);
        }
        while let Some(event) = self.prediction.poll_event() {
            match event {
                prediction::Event::Guessed(member) => {
                    if let Some(peer) = self.peers.get_mut(&member) {
                        peer.signalling.handle_news(now);
                    }
                }
                prediction::Event::Over(sockets) => self.guessed_from.extend(sockets),
            }
        }
        self.close_unused();
    }

    /// Of the sockets of attempts that are over, those stay open that a way begins at.
    fn close_unused(&mut self) {
        if self.guessed_from.is_empty() {
            return;
        }
        let is_used = |socket: &SideNumber| self.peers.values().any(|peer| peer.paths.uses(*socket));
        let (used, unused) = self.guessed_from.iter().partition(|socket| is_used(socket));
        self.guessed_from = used;
        let unused: Vec<SideNumber> = unused;
        if !unused.is_empty() {
            self.events.push_back(Event::CloseSides(unused));
        }
    }
}

/// The IPv4 addresses that STUN servers saw the peer at.
fn public_addresses(peer: &Peer) -> impl Iterator<Item = SocketAddr> {
    let mapped = peer
        .named
        .iter()
        .filter(|candidate| candidate.kind == CandidateKind::Mapped);
    mapped.map(|candidate| candidate.address).filter(SocketAddr::is_ipv4)
}

/// Whether whoever is behind `hard` has to guess its own ports for `easy` to let it in.
fn leads_only_a_guess(hard: NatSummary, easy: NatSummary) -> bool {
    reason::is_symmetric(hard)
        && easy.mapping.is_predictable()
        && easy.filtering == Filtering::AddressAndPortDependent
        && reason::incompatible(hard, easy)
}
