//! The agents' drivers: starting, carrying out what the engine decides, timers and traffic.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use lanrage_agent_core::batch::{PathInUse, Route};
use lanrage_agent_core::cache::ConnectionCache;
use lanrage_agent_core::engine::{Config, Engine, Event};
use lanrage_agent_core::path::PartyClock;
use lanrage_agent_core::relays::RelayChoice;
use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::MemberId;
use lanrage_shared::keys::PartySecret;
use rand::{Rng, RngCore};

use super::{Happening, TICK, World};
use crate::control::Up;
use crate::net::{Datagram, Net};
use crate::pc::{Agent, Cache, Link, Relays, Role, StreamState};

/// An agent's timer that wants to run more often than this in a second is a loop.
const MAX_WAKES: usize = 400;

impl World {
    /// The PC's owner redeems an invite.
    pub(super) fn join(&mut self, pc: usize) {
        let (identity, device) = (self.pcs[pc].identity.public(), self.pcs[pc].device.public());
        let member = self.control.join(identity, device);
        let (secret_epoch, secret) = self.control.secret();
        self.enter(pc, Role::Member(member), secret, secret_epoch);
        self.flush_control();
    }

    /// The server lists a device by itself.
    pub(super) fn slip_in(&mut self, pc: usize) {
        let (identity, device) = (self.pcs[pc].identity.public(), self.pcs[pc].device.public());
        let member = self.control.join(identity, device);
        let mut guess = [0; 32];
        self.rng.fill_bytes(&mut guess);
        let (epoch, _) = self.control.secret();
        self.enter(pc, Role::Impostor(member), PartySecret::from_bytes(guess), epoch);
        self.flush_control();
    }

    fn enter(&mut self, pc: usize, role: Role, secret: PartySecret, secret_epoch: u32) {
        self.stop_agent(pc);
        self.pcs[pc].role = role;
        self.pcs[pc].cache = Some(Cache {
            party: self.control.party.clone(),
            secret,
            secret_epoch,
            connections: ConnectionCache::default(),
            token_epoch: None,
        });
        let run = self.pcs[pc].run;
        self.start_agent(pc, run);
    }

    /// The agent of a run that still is to be started.
    pub(super) fn start_agent(&mut self, pc: usize, run: u64) {
        if self.pcs[pc].run != run || self.pcs[pc].agent.is_some() {
            return;
        }
        self.mark();
        let now = self.now;
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now_ms = self.unix_ms();
        let clock = PartyClock::new(now, now_ms);
        let (home, place) = (self.pcs[pc].home, self.pcs[pc].place);
        let ip = self.net.address(home, place);
        let this = &mut self.pcs[pc];
        let (Some(cache), Some(me)) = (&mut this.cache, this.role.number()) else {
            return;
        };
        let config = Config {
            me,
            device: this.device.clone(),
            secret: cache.secret.clone(),
            party: cache.party.clone(),
            clock,
            seed,
            agent_version: "simulated".to_owned(),
        };
        let mut engine = Engine::new(config, now);
        engine.handle_interfaces(vec![SocketAddr::new(ip.into(), this.port)], now);
        for member in &cache.party.members {
            engine.handle_remembered(member.id, cache.connections.remembered(member, now_ms), now);
        }
        let mut choice = RelayChoice::new(this.identity.device_id());
        choice.handle_remembered(&cache.connections.rtts(now_ms));
        choice.handle_offer(cache.connections.relays(now_ms), now);
        let members = cache.party.members.iter();
        this.run += 1;
        this.cut_off = Some(now);
        let run = this.run;
        this.agent = Some(Agent {
            engine,
            links: BTreeMap::new(),
            told: members.map(|member| (member.id, member.device_key)).collect(),
            stream: StreamState::Away,
            stream_backoff: Backoff::default(),
            connected: None,
            relays: Relays {
                choice,
                seats: BTreeMap::new(),
                next_number: 0,
                for_peers: Vec::new(),
            },
            wake: None,
            wakes: VecDeque::new(),
            probes: BTreeMap::new(),
            sides: BTreeMap::new(),
            last_side: None,
            side_flows: BTreeMap::new(),
            sent_probes: 0,
            timer_runs: 0,
        });
        self.note(|_| format!("pc {pc} starts as {me}"));
        self.settle(pc);
        self.adjust_relays(pc);
        self.after(Duration::ZERO, Happening::Connect { pc, run });
        let first = self.between(0, 250);
        self.after(first, Happening::Tick { pc, run });
    }

    /// The agent ends without a word.
    pub(super) fn stop_agent(&mut self, pc: usize) {
        let Some(agent) = self.pcs[pc].agent.take() else {
            return;
        };
        self.pcs[pc].run += 1;
        if let StreamState::Open(stream) = agent.stream {
            let soon = self.between(1, 50);
            self.after(soon, Happening::StreamClosed { stream });
        }
    }

    /// Runs what is due and carries out what was decided, as the driver does after every input.
    pub(super) fn settle(&mut self, pc: usize) {
        let now = self.now;
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        agent.engine.handle_timeout(now);
        self.carry_out(pc);
    }

    pub(super) fn wake(&mut self, pc: usize) {
        let now = self.now;
        if let Some(agent) = &mut self.pcs[pc].agent {
            agent.wake = None;
            agent.timer_runs += 1;
            agent.wakes.push_back(now);
            agent.wakes.retain(|at| *at + Duration::from_secs(1) > now);
            if agent.wakes.len() > MAX_WAKES {
                let why = agent.engine.poll_timeout(now);
                self.violate(format!(
                    "pc {pc}'s engine does not come to rest: {:?}",
                    why.map(|(_, why)| why)
                ));
            }
        }
        self.settle(pc);
    }

    fn carry_out(&mut self, pc: usize) {
        while let Some(event) = self.pcs[pc].agent.as_mut().and_then(|agent| agent.engine.poll_event()) {
            self.carry_out_event(pc, event);
        }
        while let Some((socket, packet)) = self.pcs[pc]
            .agent
            .as_mut()
            .and_then(|agent| agent.engine.poll_transmit())
        {
            let datagram = Datagram {
                sender: pc,
                data: packet.data.freeze(),
                certain: false,
            };
            self.send(pc, socket, packet.peer, &datagram);
        }
        let now = self.now;
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        agent.wake = agent.engine.poll_timeout(now).map(|(at, _)| at.max(now));
        let missing = agent.engine.missing_relays();
        if agent.relays.for_peers != missing {
            agent.relays.for_peers = missing;
            self.adjust_relays(pc);
        }
    }

    fn carry_out_event(&mut self, pc: usize, event: Event) {
        let this = &mut self.pcs[pc];
        let (Some(agent), Some(cache)) = (&mut this.agent, &this.cache) else {
            return;
        };
        match event {
            Event::PeerAdded { member, psk, .. } => {
                let link = Link {
                    key: member.device_key,
                    psks: vec![psk],
                    since_secret: cache.secret_epoch,
                    path: None,
                    last_sent: None,
                    last_received: None,
                    worse: 0,
                    changes: 0,
                };
                agent.links.insert(member.id, link);
            }
            Event::PeerRemoved { member } => {
                agent.links.remove(&member);
            }
            Event::Rekeyed { member, psk, .. } => {
                if let Some(link) = agent.links.get_mut(&member) {
                    link.psks.extend(psk);
                }
            }
            Event::Path { member, path } => self.change_path(pc, member, path),
            Event::Signal { to, sealed, through } => match through {
                Some(route) => self.send_signal(pc, route, &sealed),
                None => self.say(pc, Up::Signal { to, sealed }),
            },
            Event::Presence(presence) => self.say(pc, Up::Presence(presence)),
            Event::CloseSides(sockets) => {
                if let Some(agent) = &mut self.pcs[pc].agent {
                    agent.sides.retain(|socket, _| !sockets.contains(socket));
                }
            }
        }
    }

    fn change_path(&mut self, pc: usize, member: MemberId, path: Option<PathInUse>) {
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let view = agent.engine.peers().find(|view| view.member.id == member);
        let kind = view.and_then(|view| view.path).map(|path| (path.kind, path.rtt_ms));
        let Some(link) = agent.links.get_mut(&member) else {
            return;
        };
        let before = link.path.map(|path| path.route);
        link.path = path;
        let after = path.map(|path| path.route);
        self.note(|_| format!("pc {pc} to {member}: {path:?} {kind:?}"));
        if before != after {
            self.summary.path_changes += 1;
            self.check_change(pc, member, before, after);
        }
        self.remember_paths(pc);
    }

    fn remember_paths(&mut self, pc: usize) {
        let now_ms = self.unix_ms();
        let this = &mut self.pcs[pc];
        if let (Some(agent), Some(cache)) = (&this.agent, &mut this.cache) {
            for (member, way) in agent.engine.ways() {
                cache.connections.handle_way(member, way, now_ms);
            }
        }
    }

    /// What the driver does a few times a second, and the games with it.
    pub(super) fn tick(&mut self, pc: usize, run: u64) {
        if self.pcs[pc].run != run || self.pcs[pc].agent.is_none() {
            return;
        }
        let now = self.now;
        if let Some(agent) = &mut self.pcs[pc].agent {
            for (member, link) in &agent.links {
                agent.engine.handle_traffic(*member, link.last_sent, link.last_received);
                if let Some(path) = link.path {
                    agent.engine.handle_spoke_from(*member, path.route, now);
                }
            }
        }
        self.remember_paths(pc);
        let peers: Vec<MemberId> = self.pcs[pc]
            .agent
            .as_ref()
            .map(|agent| agent.links.keys().copied().collect())
            .unwrap_or_default();
        for member in peers {
            if self.plays(pc, member) {
                self.send_packet(pc, member, false);
            }
        }
        self.renew_secret(pc);
        self.after(TICK, Happening::Tick { pc, run });
    }

    /// Whether packets go from this PC to the member all the time.
    pub(super) fn plays(&self, pc: usize, member: MemberId) -> bool {
        self.everybody_plays.unwrap_or_else(|| {
            let me = self.pcs[pc].role.number().map_or(0, |number| u64::from(number.0));
            let (low, high) = (me.min(member.0.into()), me.max(member.0.into()));
            (low * 7 + high * 13) * 29 % 100 < u64::from(self.busy_percent)
        })
    }

    /// The host's agent owes the party a secret after somebody left.
    fn renew_secret(&mut self, pc: usize) {
        let party = &self.control.party;
        let (epoch, owed) = (party.epoch, party.secret_epoch < party.epoch);
        let is_host = self.pcs[pc].role == Role::Member(party.host);
        let known = self.pcs[pc].cache.as_ref().map(|cache| cache.secret_epoch);
        if is_host && owed && known == Some(party.secret_epoch) {
            let mut secret = [0; 32];
            self.rng.fill_bytes(&mut secret);
            self.say(pc, Up::Secret(epoch, PartySecret::from_bytes(secret)));
        }
    }

    /// Another network: other addresses, and every TCP connection broken.
    pub(super) fn roam(&mut self, pc: usize, home: usize) {
        if self.pcs[pc].home == home {
            return;
        }
        let place = self.free_place(home);
        self.pcs[pc].home = home;
        self.pcs[pc].place = place;
        let address = SocketAddr::new(self.net.address(home, place).into(), self.pcs[pc].port);
        let now = self.now;
        self.pcs[pc].cut_off.get_or_insert(now);
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        agent.engine.handle_interfaces(vec![address], now);
        agent.relays.choice.handle_moved();
        let stream = agent.stream;
        if let StreamState::Open(stream) = stream {
            let notices = Duration::from_millis(self.rng.random_range(100..3000));
            self.after(notices, Happening::StreamLost { pc, stream });
            let server = self.between(2000, 12_000);
            self.after(server, Happening::StreamClosed { stream });
        }
        self.adjust_relays(pc);
        self.settle(pc);
    }

    pub(super) fn hear_stun(&mut self, pc: usize) {
        let now = self.now;
        if let Some(agent) = &mut self.pcs[pc].agent {
            agent.engine.handle_stun_servers(Net::stun_servers(), now);
        }
    }
}

/// A route in few words.
pub(super) fn in_words(route: Option<Route>) -> String {
    match route {
        None => "nothing".to_owned(),
        Some(Route::Direct(address)) => address.to_string(),
        Some(Route::Side { socket, address }) => format!("{address} from side socket {}", socket.0),
        Some(Route::Relay { relay, .. }) => format!("relay session {}", relay.0),
    }
}
