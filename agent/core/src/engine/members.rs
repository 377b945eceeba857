//! Who is in the party, as the control server tells it.

use std::time::Instant;

use lanrage_shared::api::party::Member;
use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::MemberId;
use lanrage_shared::keys::PartySecret;
use lanrage_shared::pair::PairKeys;

use super::peer::Peer;
use super::signalling::Reach;
use super::{Engine, Event};
use crate::path::ProbeKeys;

impl Engine {
    /// The whole membership, as of a snapshot: adds and removes what differs.
    pub fn handle_members(&mut self, members: &[Member], now: Instant) {
        let gone: Vec<MemberId> = self
            .peers
            .keys()
            .filter(|id| members.iter().all(|member| member.id != **id))
            .copied()
            .collect();
        for member in gone {
            self.handle_left(member);
        }
        for member in members {
            self.handle_joined(member, now);
        }
    }

    /// A member joined, or is known with another key or name than before.
    pub fn handle_joined(&mut self, member: &Member, now: Instant) {
        if member.id == self.me || member.device_key == self.device.public() {
            return;
        }
        let same_key = self
            .peers
            .get(&member.id)
            .map(|peer| peer.member.device_key == member.device_key);
        if same_key == Some(false) {
            self.handle_left(member.id);
        }
        if same_key != Some(true) {
            let keys = PairKeys::derive(&self.secret, &self.device, &member.device_key);
            self.events.push_back(Event::PeerAdded {
                member: member.clone(),
                psk: keys.psk,
                probe_tag: keys.probe_receive.tag,
            });
            let mut peer = Peer::new(member.clone(), keys);
            peer.paths.handle_game(self.game_keepalive);
            self.by_tag
                .extend(peer.paths.receive_tags().map(|tag| (tag, member.id)));
            self.peers.insert(member.id, peer);
        }
        if let Some(peer) = self.peers.get_mut(&member.id) {
            peer.member = member.clone();
        }
        self.handle_presence(member.id, member.online, member.presence.as_ref(), now);
    }

    /// The party has a new secret. Who does not know it yet is spoken to with the old keys until it does.
    pub fn handle_secret(&mut self, secret: PartySecret) {
        self.secret = secret;
        for (member, peer) in &mut self.peers {
            let keys = PairKeys::derive(&self.secret, &self.device, &peer.member.device_key);
            peer.paths.rekey(ProbeKeys::of(&keys));
            let before = std::mem::replace(&mut peer.keys, keys);
            peer.old_keys.get_or_insert(before);
            self.by_tag.retain(|_, of| of != member);
            self.by_tag.extend(peer.paths.receive_tags().map(|tag| (tag, *member)));
            self.events.push_back(Event::Rekeyed {
                member: *member,
                probe_tags: peer.paths.receive_tags().collect(),
                psk: None,
            });
        }
    }

    /// A member left or was removed.
    pub fn handle_left(&mut self, member: MemberId) {
        if self.peers.remove(&member).is_some() {
            self.by_tag.retain(|_, of| *of != member);
            self.prediction.handle_left(member);
            self.events.push_back(Event::PeerRemoved { member });
        }
    }

    /// What the server knows of a member right now.
    pub fn handle_presence(&mut self, member: MemberId, online: bool, presence: Option<&Presence>, now: Instant) {
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        if peer.member.online && !online {
            // Its agent ended, or only its connection to the server: a path says which, when asked.
            peer.paths.handle_doubt(now);
        }
        peer.member.online = online;
        if let Some(presence) = presence {
            peer.nat = presence.nat;
            peer.seats.clone_from(&presence.relays);
            peer.playing = presence.game.as_deref().cloned();
        }
        if online && !peer.signalling.is_online() {
            peer.paths.search_afresh();
            self.prediction.handle_moved(member);
        }
        self.find_relays(member, now);
    }

    /// Whether signals can get to a peer: it is connected to the server, whose last word means nothing while it is away, or a
    /// relay leads to it.
    pub(super) fn tell_signalling(&mut self, member: MemberId, now: Instant) {
        let served = self.server_reachable == Some(true);
        if let Some(peer) = self.peers.get_mut(&member) {
            let reached = served && peer.member.online || peer.reach() == Reach::Relayed;
            peer.signalling.handle_online(reached, now);
            peer.paths.handle_away(served && !peer.member.online);
        }
    }
}
