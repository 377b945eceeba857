//! The agents' sessions with relays.

use std::time::{Duration, Instant};

use lanrage_agent_core::relays::{KnownRelay, Trouble};
use lanrage_shared::api::presence::Mapping;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::ids::RelayId;
use rand::Rng;

use super::{Happening, World};
use crate::pc::{Role, Standing, StreamState};
use crate::relay::{Holder, Port};
use crate::scenario::Home;

/// QUIC gives up a connection that is silent for this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// An attempt to connect ends after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP is tried when QUIC has not answered for this long.
const HEAD_START: Duration = Duration::from_secs(1);
/// How often the round trip is measured.
const RTT_INTERVAL: Duration = Duration::from_secs(5);
/// A home relay is left only for one that is nearer by more, there and back.
const HARDLY_FARTHER: Duration = Duration::from_millis(10);
/// The server stops offering a relay that has been silent for this long.
const STALE: Duration = Duration::from_secs(15);

impl World {
    pub(super) fn start_relay(&mut self, relay: usize) {
        let (now, unix_ms) = (self.now, self.unix_ms());
        self.relays[relay].start(&self.tokens, now, unix_ms);
        self.offer_relays();
    }

    pub(super) fn relay_up(&mut self, relay: usize, start: u64) {
        if self.relay_starts == start || !self.relays[relay].is_up() {
            self.start_relay(relay);
            self.mark();
        }
    }

    /// A relay stops; those it serves notice at once, or when nothing was heard for long enough.
    pub(super) fn stop_relay(&mut self, relay: usize, silent: bool) {
        for port in self.relays[relay].stop() {
            let delay = self.relays[relay].delay + self.between(1, 80);
            let unnoticed = silent && !self.is_tcp(port);
            let delay = if unnoticed { delay + IDLE_TIMEOUT } else { delay };
            self.after(delay, Happening::RelayLost { port });
        }
        self.after(STALE, Happening::OfferChange);
    }

    pub(super) fn offer_relays(&mut self) {
        let up = self.relays.iter().filter(|relay| relay.is_up());
        self.control.offer(up.map(|relay| relay.offer()).collect());
        self.flush_control();
    }

    /// The sessions there should be are begun, the others ended, and the engine told.
    pub(super) fn adjust_relays(&mut self, pc: usize) {
        let (now, unix_ms, run) = (self.now, self.unix_ms(), self.pcs[pc].run);
        let this = &mut self.pcs[pc];
        let (Some(agent), Some(cache)) = (&mut this.agent, &mut this.cache) else {
            return;
        };
        let adjusted = agent.relays.adjust(now);
        agent.engine.handle_known_relays(agent.relays.choice.known(), now);
        for own in &adjusted.own {
            let rtt = Duration::from_secs_f64(own.rtt_ms / 1000.0);
            cache.connections.handle_rtt(&own.id, rtt, unix_ms);
        }
        agent.engine.handle_relays(adjusted.own, now);
        let next = agent.relays.choice.next_change(now);
        for (id, connection) in adjusted.ended {
            if let Some(relay) = self.relay_index(&id) {
                self.relays[relay].leave((pc, connection));
            }
        }
        for id in adjusted.begin {
            if let Some(relay) = self.relay_index(&id) {
                self.try_relay(pc, run, relay);
            }
        }
        if let Some(next) = next {
            self.at(next, Happening::RelayChoice { pc, run });
        }
    }

    pub(super) fn choose_relays(&mut self, pc: usize, run: u64) {
        if self.pcs[pc].run == run {
            self.adjust_relays(pc);
            self.settle(pc);
        }
    }

    /// An attempt begins.
    pub(super) fn try_relay(&mut self, pc: usize, run: u64, relay: usize) {
        if self.pcs[pc].run != run || self.pcs[pc].agent.is_none() {
            return;
        }
        let spec = self.net.spec(self.pcs[pc].home);
        let rtt = self.rtt(&spec, relay);
        let cut = self.net.cut_until(self.pcs[pc].home, self.now).is_some();
        let late = cut || !self.relays[relay].is_up();
        let tcp = spec.mapping == Mapping::Blocked;
        let takes = match (late, tcp) {
            (true, _) => CONNECT_TIMEOUT,
            (false, true) => HEAD_START + rtt * 4,
            (false, false) => rtt * 3,
        };
        self.after(takes, Happening::RelayConnect { pc, run, relay, late });
    }

    /// An attempt comes to its end.
    pub(super) fn enter_relay(&mut self, pc: usize, run: u64, relay: usize, late: bool) {
        let id = self.relays[relay].id.clone();
        let is_wanted = |world: &Self| {
            let agent = world.pcs[pc].agent.as_ref();
            agent.is_some_and(|agent| agent.relays.seats.contains_key(&id))
        };
        if self.pcs[pc].run != run || !is_wanted(self) {
            return;
        }
        self.connections += 1;
        let port = (pc, self.connections);
        let entered = !late && self.is_admitted(pc, relay, port);
        let (now, random) = (self.now, self.rng.random());
        let spec = self.net.spec(self.pcs[pc].home);
        let rtt = self.rtt(&spec, relay);
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let Some(seat) = agent.relays.seats.get_mut(&id) else {
            return;
        };
        if entered {
            seat.backoff.handle_connected(now);
            seat.up = Some(Standing {
                connection: port.1,
                since: now,
                rtt,
                tcp: spec.mapping == Mapping::Blocked,
            });
            agent.relays.choice.handle_rtt(&id, rtt, now);
            self.mark();
            self.note(|_| format!("pc {pc} is in {id}"));
            self.after(RTT_INTERVAL, Happening::RelayRtt { pc, run, relay });
        } else {
            let wait = seat.backoff.handle_failure(now, random);
            agent.relays.choice.handle_failure(&id, unreachable(), now);
            self.after(
                wait.max(Duration::from_millis(50)),
                Happening::RelayRetry { pc, run, relay },
            );
        }
        self.adjust_relays(pc);
        self.settle(pc);
    }

    fn is_admitted(&mut self, pc: usize, relay: usize, port: Port) -> bool {
        let (now, now_s) = (self.now, self.unix_ms() / 1000);
        let reaches_control = self.unreachable_until(pc).is_none();
        let (party, current) = (self.control.party.id, self.control.party.epoch);
        let this = &mut self.pcs[pc];
        let (Some(cache), Some(member)) = (&mut this.cache, this.role.number()) else {
            return false;
        };
        if reaches_control && !matches!(this.role, Role::Kicked(_)) {
            cache.token_epoch = Some(current);
        }
        let Some(epoch) = cache.token_epoch else { return false };
        let holder = Holder {
            member,
            identity: &this.identity,
            device_key: this.device.public(),
            epoch,
        };
        let token = self.tokens.token(&self.relays[relay].id, party, &holder, now_s);
        let admitted = self.relays[relay].admit(&token, &this.identity, port, now).is_ok();
        if !admitted {
            cache.token_epoch = None;
        }
        let is_kicked = matches!(this.role, Role::Kicked(_));
        if admitted && is_kicked {
            self.violate(format!("a relay admits pc {pc}, which was removed"));
        }
        admitted
    }

    /// A connection is over, as its agent notices.
    pub(super) fn lose_relay(&mut self, port: Port) {
        let (pc, connection) = port;
        let (now, random, run) = (self.now, self.rng.random(), self.pcs[pc].run);
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let lost = agent
            .relays
            .seats
            .iter_mut()
            .find(|(_, seat)| seat.up.is_some_and(|up| up.connection == connection));
        let Some((id, seat)) = lost else { return };
        let id = id.clone();
        seat.up = None;
        let wait = seat.backoff.handle_failure(now, random);
        agent.relays.choice.handle_failure(&id, unreachable(), now);
        self.mark();
        self.forgive_peers_of(pc);
        self.note(|_| format!("pc {pc} lost {id}"));
        self.adjust_relays(pc);
        self.settle(pc);
        if let Some(relay) = self.relay_index(&id) {
            self.after(wait, Happening::RelayRetry { pc, run, relay });
        }
    }

    /// Nothing gets through a home's line: connections end if that lasts.
    pub(super) fn cut_relays(&mut self, home: usize) {
        if self
            .net
            .cut_until(home, self.now)
            .is_none_or(|until| until < self.now + IDLE_TIMEOUT)
        {
            return;
        }
        let here = (0..self.pcs.len()).filter(|pc| self.pcs[*pc].home == home);
        let seats = here.filter_map(|pc| Some((pc, &self.pcs[pc].agent.as_ref()?.relays.seats)));
        let up = seats.flat_map(|(pc, seats)| {
            let up = seats
                .iter()
                .filter_map(|(id, seat)| Some((id, seat.up.filter(|up| !up.tcp)?)));
            up.map(move |(id, up)| (id, (pc, up.connection)))
        });
        let up: Vec<(usize, Port)> = up
            .filter_map(|(id, port)| Some((self.relay_index(id)?, port)))
            .collect();
        for (relay, port) in up {
            self.after(IDLE_TIMEOUT, Happening::RelaySilent { port, home, relay });
        }
    }

    pub(super) fn give_up_relay(&mut self, port: Port, home: usize, relay: usize) {
        if self.pcs[port.0].home == home && self.net.cut_until(home, self.now).is_some() {
            self.relays[relay].leave(port);
            self.lose_relay(port);
        }
    }

    pub(super) fn measure_relay(&mut self, pc: usize, run: u64, relay: usize) {
        if self.pcs[pc].run != run {
            return;
        }
        let spec = self.net.spec(self.pcs[pc].home);
        let rtt = self.rtt(&spec, relay);
        let id = self.relays[relay].id.clone();
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let standing = agent.relays.seats.get_mut(&id).and_then(|seat| seat.up.as_mut());
        let Some(standing) = standing else { return };
        // Smoothed, as transports do (RFC 6298).
        standing.rtt = (standing.rtt * 7 + rtt) / 8;
        let rtt = standing.rtt;
        agent.relays.choice.handle_rtt(&id, rtt, self.now);
        self.adjust_relays(pc);
        self.settle(pc);
        self.after(RTT_INTERVAL, Happening::RelayRtt { pc, run, relay });
    }

    /// The control server tells the relays that a device is no member any more.
    pub(super) fn revoke(&mut self, pc: usize) {
        self.revocations += 1;
        let revocation = Revocation {
            seq: self.revocations,
            party: self.control.party.id,
            epoch: self.control.party.epoch,
            removed: vec![self.pcs[pc].identity.public()],
        };
        let now = self.now;
        for relay in 0..self.relays.len() {
            for port in self.relays[relay].revoke(revocation.clone(), now) {
                self.after(self.relays[relay].delay, Happening::RelayLost { port });
            }
        }
    }

    pub(super) fn is_tcp(&self, (pc, connection): Port) -> bool {
        let agent = self.pcs[pc].agent.as_ref();
        let mut seats = agent.into_iter().flat_map(|agent| agent.relays.seats.values());
        seats.any(|seat| seat.up.is_some_and(|up| up.connection == connection && up.tcp))
    }

    /// A relay both PCs really have had a session with, as both know.
    pub(super) fn shares_relay(&self, a: usize, b: usize) -> bool {
        let since = |pc: usize, id: &RelayId, relay: usize| -> Option<Instant> {
            let agent = self.pcs[pc].agent.as_ref()?;
            let up = agent.relays.seats.get(id)?.up?;
            // Over UDP an agent that moved to where UDP is blocked has lost it.
            let works = up.tcp || self.net.spec(self.pcs[pc].home).mapping != Mapping::Blocked;
            let seated = self.relays[relay].has((pc, up.connection));
            (works && seated).then_some(up.since)
        };
        // Whoever hears nothing any more knows what was so for a while before.
        let cut_off = [self.pcs[a].cut_off, self.pcs[b].cut_off].into_iter().flatten().min();
        let known_by = cut_off.unwrap_or(self.now).checked_sub(super::RECOVERY);
        (0..self.relays.len()).any(|relay| {
            let id = &self.relays[relay].id;
            let (a, b) = (since(a, id, relay), since(b, id, relay));
            a.zip(b)
                .zip(known_by)
                .is_some_and(|((a, b), known_by)| a.max(b) <= known_by)
        })
    }

    /// An agent that works with every relay is at home at the nearest, or at one that is hardly farther.
    pub(super) fn detour(&self, pc: usize) -> Option<String> {
        let agent = self.pcs[pc].agent.as_ref()?;
        let known = agent.relays.choice.known();
        let works = |relay: &KnownRelay| relay.failure.is_none() && self.relay_index(&relay.relay.id).is_some();
        let home = self.relay_index(&agent.engine.relays().first()?.id)?;
        let nearest = self.relays.iter().map(|relay| relay.delay).min()?;
        let jitter = Duration::from_millis(self.net.spec(self.pcs[pc].home).jitter_ms.into());
        let farther = (self.relays[home].delay - nearest) * 2;
        let is_detour =
            known.len() == self.relays.len() && known.iter().all(works) && farther > HARDLY_FARTHER + jitter * 4;
        is_detour.then(|| format!("pc {pc} is at home {farther:?} farther than at the nearest relay"))
    }

    /// Whether an agent's stream is open and works.
    pub(super) fn hears_server(&self, pc: usize) -> bool {
        let agent = self.pcs[pc].agent.as_ref();
        let open = agent.is_some_and(|agent| matches!(agent.stream, StreamState::Open(_)) && agent.connected.is_some());
        open && self.unreachable_until(pc).is_none()
    }

    fn relay_index(&self, id: &RelayId) -> Option<usize> {
        self.relays.iter().position(|relay| relay.id == *id)
    }

    fn rtt(&mut self, home: &Home, relay: usize) -> Duration {
        let jitter = self.rng.random_range(0..=u64::from(home.jitter_ms));
        let there = Duration::from_millis(u64::from(home.delay_ms) + jitter) + self.relays[relay].delay;
        there * 2
    }
}

fn unreachable() -> Trouble {
    Trouble::Unreachable("it does not answer".into())
}
