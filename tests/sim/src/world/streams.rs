//! The agents' streams to the control server.

use std::time::{Duration, Instant};

use lanrage_agent_core::path::PartyClock;
use lanrage_shared::ids::MemberId;
use lanrage_shared::keys::PartySecret;
use rand::Rng;

use super::{Happening, World};
use crate::control::{Down, Up};
use crate::pc::{Role, StreamState};

impl World {
    /// Sends what the server has to say.
    pub(super) fn flush_control(&mut self) {
        for (stream, message) in self.control.drain() {
            let at = self.on_stream(stream.pc, stream.number, true);
            let (pc, stream) = (stream.pc, stream.number);
            self.at(at, Happening::FromControl { pc, stream, message });
        }
    }

    /// An agent says something on its stream, if it has one.
    pub(super) fn say(&mut self, pc: usize, message: Up) {
        let stream = self.pcs[pc].agent.as_ref().map(|agent| agent.stream);
        if let Some(StreamState::Open(stream)) = stream {
            let at = self.on_stream(pc, stream, false);
            self.at(at, Happening::ToControl { stream, message });
        }
    }

    /// When a message arrives: in order, and after whatever holds up the connection.
    fn on_stream(&mut self, pc: usize, stream: u64, down: bool) -> Instant {
        let held_up = [
            self.unreachable_until(pc),
            self.net.cut_until(self.pcs[pc].home, self.now),
        ];
        let from = held_up.into_iter().flatten().max().unwrap_or(self.now);
        let delay = Duration::from_millis(self.net.spec(self.pcs[pc].home).delay_ms.into());
        let last = self.stream_clock.get(&(stream, down)).copied().unwrap_or(self.now);
        let at = (from + delay).max(last);
        self.stream_clock.insert((stream, down), at);
        at
    }

    pub(super) fn unreachable_until(&self, pc: usize) -> Option<Instant> {
        let until = [self.pcs[pc].partitioned, self.control_down];
        until.into_iter().flatten().filter(|until| *until > self.now).max()
    }

    /// An agent tries to reach the server.
    pub(super) fn connect(&mut self, pc: usize, run: u64) {
        if self.pcs[pc].run != run || self.pcs[pc].agent.is_none() {
            return;
        }
        let unreachable =
            self.unreachable_until(pc).is_some() || self.net.cut_until(self.pcs[pc].home, self.now).is_some();
        let listed = self.pcs[pc]
            .role
            .number()
            .is_some_and(|number| self.control.is_member(number));
        let is_member = listed && !matches!(self.pcs[pc].role, Role::Kicked(_));
        let (now, random) = (self.now, self.rng.random());
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        if unreachable || !is_member {
            agent.engine.handle_server(false, now);
            let wait = agent.stream_backoff.handle_failure(now, random);
            self.settle(pc);
            self.after(wait.max(Duration::from_millis(50)), Happening::Connect { pc, run });
            return;
        }
        agent.stream_backoff.handle_connected(now);
        let since = self.pcs[pc].cache.as_ref().map_or(0, |cache| cache.secret_epoch);
        let Some(member) = self.pcs[pc].role.number() else {
            return;
        };
        let stream = self.control.open(pc, member, since);
        if let Some(agent) = &mut self.pcs[pc].agent {
            agent.stream = StreamState::Open(stream);
        }
        // TLS and the hello are behind it.
        let handshakes = Duration::from_millis(u64::from(self.net.spec(self.pcs[pc].home).delay_ms) * 5);
        self.stream_clock.insert((stream, true), now + handshakes);
        self.flush_control();
    }

    /// An agent notices that its stream is over.
    pub(super) fn lose_stream(&mut self, pc: usize, stream: u64) {
        let (now, random, run) = (self.now, self.rng.random(), self.pcs[pc].run);
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        if agent.stream != StreamState::Open(stream) {
            return;
        }
        agent.stream = StreamState::Away;
        agent.connected = None;
        agent.engine.handle_server(false, now);
        let wait = agent.stream_backoff.handle_failure(now, random);
        self.mark();
        self.settle(pc);
        self.after(wait, Happening::Connect { pc, run });
    }

    /// An agent hears the server.
    pub(super) fn hear(&mut self, pc: usize, stream: u64, message: Down) {
        let (now, unix_ms) = (self.now, self.unix_ms());
        self.note(|_| format!("pc {pc} hears {}", in_words(&message)));
        let this = &mut self.pcs[pc];
        let (Some(agent), Some(cache)) = (&mut this.agent, &mut this.cache) else {
            return;
        };
        if agent.stream != StreamState::Open(stream) {
            return;
        }
        match message {
            Down::Snapshot { party, secrets, relays } => {
                agent.engine.handle_clock(PartyClock::new(now, unix_ms));
                agent.engine.handle_server(true, now);
                agent.connected = Some(now);
                this.cut_off = None;
                agent.told = party.members.iter().map(|known| (known.id, known.device_key)).collect();
                agent.engine.handle_members(&party.members, now);
                cache.connections.handle_offer(&relays, unix_ms);
                agent.relays.choice.handle_offer(relays, now);
                cache.party = *party;
                cache.connections.handle_members(&cache.party.members);
                self.mark();
                self.hear_stun(pc);
                for (epoch, secret) in secrets {
                    self.adopt(pc, epoch, secret);
                }
                self.adjust_relays(pc);
            }
            Down::Joined(member) => {
                agent.told.insert(member.id, member.device_key);
                agent.engine.handle_joined(&member, now);
                cache.party.members.retain(|known| known.id != member.id);
                cache.party.members.push(*member);
                self.mark();
            }
            Down::Left(member) => self.hear_left(pc, member),
            Down::Updated { host, epoch } => {
                cache.party.host = host;
                cache.party.epoch = epoch;
                cache.token_epoch = None;
            }
            Down::Secret(epoch, secret) => self.adopt(pc, epoch, secret),
            Down::Presence {
                member,
                online,
                presence,
            } => {
                if let Some(known) = cache.party.members.iter_mut().find(|known| known.id == member) {
                    known.online = online;
                }
                agent.engine.handle_presence(member, online, presence.as_ref(), now);
            }
            Down::Signal { from, sealed } => agent.engine.handle_signal(from, &sealed, now),
            Down::Offer(relays) => {
                cache.connections.handle_offer(&relays, unix_ms);
                agent.relays.choice.handle_offer(relays, now);
                self.adjust_relays(pc);
            }
        }
        self.settle(pc);
    }

    fn hear_left(&mut self, pc: usize, member: MemberId) {
        let this = &mut self.pcs[pc];
        let (Some(agent), Some(cache)) = (&mut this.agent, &mut this.cache) else {
            return;
        };
        agent.told.remove(&member);
        agent.engine.handle_left(member);
        cache.party.members.retain(|known| known.id != member);
        cache.connections.handle_members(&cache.party.members);
    }

    fn adopt(&mut self, pc: usize, epoch: u32, secret: PartySecret) {
        let this = &mut self.pcs[pc];
        if matches!(this.role, Role::Impostor(_)) {
            // Sealed for it, and yet it cannot open it: that takes the secret before.
            return;
        }
        let (Some(agent), Some(cache)) = (&mut this.agent, &mut this.cache) else {
            return;
        };
        if epoch > cache.secret_epoch {
            cache.secret = secret.clone();
            cache.secret_epoch = epoch;
            agent.engine.handle_secret(secret);
            self.note(|_| format!("pc {pc} has secret {epoch}"));
            self.mark();
        }
    }
}

fn in_words(message: &Down) -> String {
    match message {
        Down::Snapshot { party, secrets, .. } => {
            let members: Vec<u16> = party.members.iter().map(|member| member.id.0).collect();
            format!("of the members {members:?} and {} new secrets", secrets.len())
        }
        Down::Signal { from, .. } => format!("a signal of {from}"),
        Down::Joined(member) => format!("that {} joined", member.id),
        other => format!("{other:?}"),
    }
}
