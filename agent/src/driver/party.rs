//! The party this agent is in: the engine, its stream, and what is kept on disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanrage_agent_core::dataplane::PeerLink;
use lanrage_agent_core::engine::{Config, Engine, Event};
use lanrage_agent_core::path::PartyClock;
use lanrage_shared::api::party::Member;
use lanrage_shared::ids::MemberId;
use lanrage_shared::stream::{ClientMessage, PartyEvent, ServerMessage};
use tokio::sync::mpsc;

use super::dataplane::DataPlane;
use super::stream::{Stream, StreamEvent};
use crate::io::control::ControlClient;
use crate::state::{Identity, PartyCache};

/// Changes are written this long after the first of them, so that a busy minute is not a minute of fsync.
const SAVE_DELAY: Duration = Duration::from_millis(200);
/// A session older than this is renewed by WireGuard itself with the next packet (REJECT_AFTER_TIME).
const SESSION_LIFETIME: Duration = Duration::from_secs(180);

/// What the agent's loop has to do after the party took an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Stays,
    /// This device is no longer a member, for the reason given in words.
    Over(String),
}

/// The party this agent is in.
pub struct PartySession {
    pub cache: PartyCache,
    pub client: Arc<ControlClient>,
    pub engine: Engine,
    /// Since when the server is (not) reachable, and why not.
    pub server_reachable: bool,
    pub server_since: Instant,
    pub server_problem: Option<String>,
    /// The services the engine was last told of changed; the loop resolves their names.
    pub services_changed: bool,
    links: BTreeMap<MemberId, Arc<PeerLink>>,
    stream: Stream,
    known: Arc<AtomicU64>,
    save_at: Option<Instant>,
}

impl PartySession {
    /// Enters the party in `cache`: opens tunnels to everybody known and starts the stream.
    pub fn start(
        cache: PartyCache,
        client: Arc<ControlClient>,
        identity: &Identity,
        interfaces: Vec<SocketAddr>,
        data_plane: &DataPlane,
    ) -> (Self, mpsc::Receiver<StreamEvent>) {
        let now = Instant::now();
        let config = Config {
            me: cache.me,
            device: identity.device.clone(),
            secret: cache.secret.clone(),
            party: cache.party.clone(),
            clock: party_clock(&cache, &client, now),
            seed: rand::random(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut engine = Engine::new(config, now);
        engine.handle_interfaces(interfaces, now);
        for (member, addresses) in &cache.last_good {
            engine.handle_remembered(*member, addresses, now);
        }
        // The snapshot at the first connection is what the cache may have missed.
        let known = Arc::new(AtomicU64::new(cache.seq));
        let (stream, events) = Stream::start(Arc::clone(&client), cache.party.id, Arc::clone(&known));
        let mut session = Self {
            cache,
            client,
            engine,
            server_reachable: false,
            server_since: now,
            server_problem: None,
            services_changed: true,
            links: BTreeMap::new(),
            stream,
            known,
            save_at: None,
        };
        session.carry_out(data_plane);
        (session, events)
    }

    /// This device's own entry.
    pub fn me(&self) -> Option<&Member> {
        self.cache
            .party
            .members
            .iter()
            .find(|member| member.id == self.cache.me)
    }

    /// The peer's tunnel.
    pub fn link(&self, member: MemberId) -> Option<&Arc<PeerLink>> {
        self.links.get(&member)
    }

    /// Takes what the stream says.
    pub fn handle_stream(&mut self, event: StreamEvent, data_plane: &DataPlane) -> Outcome {
        let now = Instant::now();
        let outcome = match event {
            StreamEvent::Message(message) => self.handle_message(message, now),
            StreamEvent::Lost(why) => {
                if self.server_reachable || self.server_problem.is_none() {
                    tracing::warn!(reason = %why, "the control server is not reachable; running tunnels go on");
                    self.server_since = now;
                }
                self.server_reachable = false;
                self.server_problem = Some(why);
                self.engine.handle_server(false, now);
                Outcome::Stays
            }
            StreamEvent::Over(why) => Outcome::Over(why),
        };
        self.carry_out(data_plane);
        outcome
    }

    fn handle_message(&mut self, message: ServerMessage, now: Instant) -> Outcome {
        match message {
            ServerMessage::Welcome {
                services,
                server_time_ms,
                ..
            } => {
                if !self.server_reachable {
                    self.server_since = now;
                    tracing::info!("connected to the control server");
                }
                self.server_reachable = true;
                self.server_problem = None;
                self.services_changed |= self.cache.services != services;
                self.cache.services = services;
                self.cache.clock_offset_ms = i64::try_from(server_time_ms)
                    .unwrap_or(i64::MAX)
                    .saturating_sub(wall_ms());
                self.engine.handle_clock(PartyClock::new(now, server_time_ms));
                self.engine.handle_server(true, now);
                self.save_soon(now);
            }
            ServerMessage::Snapshot { seq, party, secrets: _ } => {
                self.known.store(seq, Ordering::Relaxed);
                self.cache.seq = seq;
                self.engine.handle_members(&party.members, now);
                self.cache.party = party;
                self.save_soon(now);
                if self.me().is_none() {
                    return Outcome::Over("you are no longer a member of this party".to_owned());
                }
            }
            ServerMessage::Services { services } => {
                self.services_changed |= self.cache.services != services;
                self.cache.services = services;
                self.save_soon(now);
            }
            ServerMessage::Event { seq, event } => {
                self.known.store(seq, Ordering::Relaxed);
                self.cache.seq = seq;
                self.save_soon(now);
                return self.handle_event(event, now);
            }
            ServerMessage::Presence {
                member,
                online,
                presence,
            } => {
                if let Some(known) = self.cache.party.members.iter_mut().find(|known| known.id == member) {
                    known.online = online;
                }
                self.engine.handle_presence(member, online, presence.as_ref(), now);
            }
            ServerMessage::Signal { from, sealed } => self.engine.handle_signal(from, &sealed, now),
            ServerMessage::Refused { error } => {
                tracing::debug!(code = ?error.code, reason = %error.message, "the server refused a message")
            }
            // The stream task turns these into an end.
            ServerMessage::Bye { .. } => {}
        }
        Outcome::Stays
    }

    fn handle_event(&mut self, event: PartyEvent, now: Instant) -> Outcome {
        let members = &mut self.cache.party.members;
        match event {
            PartyEvent::MemberJoined { member } => {
                tracing::info!(peer = %member.id, name = %member.name, "a member joined");
                members.retain(|known| known.id != member.id);
                self.engine.handle_joined(&member, now);
                members.push(member);
            }
            PartyEvent::MemberLeft { member, how: _ } => {
                tracing::info!(peer = %member, "a member left");
                members.retain(|known| known.id != member);
                self.engine.handle_left(member);
                self.cache.last_good.remove(&member);
                if member == self.cache.me {
                    return Outcome::Over("you are no longer a member of this party".to_owned());
                }
            }
            PartyEvent::Updated { party } => {
                let cached = &mut self.cache.party;
                cached.name = party.name;
                cached.host = party.host;
                cached.persistent = party.persistent;
                cached.max_members = party.max_members;
                cached.epoch = party.epoch;
                cached.secret_epoch = party.secret_epoch;
                cached.version = party.version;
            }
            PartyEvent::SecretChanged { .. } => {}
            PartyEvent::Deleted => return Outcome::Over("the party was deleted".to_owned()),
        }
        Outcome::Stays
    }

    /// Feeds the engine with what the packet threads saw.
    pub fn handle_traffic(&mut self, data_plane: &DataPlane, now: Instant) {
        let epoch = data_plane.table.load().epoch;
        for (member, link) in &self.links {
            let (sent, received) = link.last_traffic(epoch);
            self.engine.handle_traffic(*member, sent, received);
            if let Some(address) = link.path() {
                self.engine.handle_spoke_from(*member, address, now);
            }
        }
        self.remember_paths(now);
    }

    /// Keeps the addresses that work: where an agent that restarts without its server begins. At once, so that a path
    /// anybody has been told of outlives a crash.
    fn remember_paths(&mut self, now: Instant) {
        let proven = self.engine.proven_addresses();
        let known = &self.cache.last_good;
        if proven
            .iter()
            .any(|(member, addresses)| known.get(member) != Some(addresses))
        {
            self.cache.last_good.extend(proven);
            self.save_at = Some(now);
        }
    }

    /// Does what the engine decided.
    pub fn carry_out(&mut self, data_plane: &DataPlane) {
        let mut members_changed = false;
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::PeerAdded { member, psk } => {
                    let tunnel = data_plane.wireguard.tunnel(&member.device_key, Some(psk));
                    let link = PeerLink::new(
                        member.id,
                        member.device_key,
                        member.virtual_ip,
                        member.virtual_ip6,
                        tunnel,
                    );
                    self.links.insert(member.id, Arc::new(link));
                    members_changed = true;
                }
                Event::PeerRemoved { member } => {
                    self.links.remove(&member);
                    members_changed = true;
                }
                Event::Path { member, address } => self.change_path(member, address, data_plane),
                Event::Signal { to, sealed } => self.stream.send(ClientMessage::Signal { to, sealed }),
                Event::Presence(presence) => self.stream.send(ClientMessage::Presence { presence }),
            }
            if members_changed {
                members_changed = false;
                self.publish(data_plane);
            }
        }
        data_plane.send(std::iter::from_fn(|| self.engine.poll_transmit()));
    }

    fn change_path(&mut self, member: MemberId, address: Option<SocketAddr>, data_plane: &DataPlane) {
        let Some(link) = self.links.get(&member) else { return };
        tracing::debug!(peer = %member, ?address, "path");
        let had_path = link.path().is_some();
        link.set_path(address);
        let has_session = link.last_handshake().is_some_and(|age| age < SESSION_LIFETIME);
        if address.is_some() && !has_session && (!had_path || self.engine.opens_session(&link.key)) {
            data_plane.start_handshake(link);
        }
        self.remember_paths(Instant::now());
    }

    fn publish(&self, data_plane: &DataPlane) {
        let net = &self.cache.party.net;
        let (v4, v6) = (net.member_v4(self.cache.me), net.member_v6(self.cache.me));
        let next = data_plane
            .table
            .load()
            .with_peers(v4, v6, self.links.values().cloned().collect());
        data_plane.table.store(Arc::new(next));
    }

    fn save_soon(&mut self, now: Instant) {
        self.save_at.get_or_insert(now + SAVE_DELAY);
    }

    /// When the cache wants to be saved.
    pub fn save_at(&self) -> Option<Instant> {
        self.save_at
    }

    /// The cache is saved, or will not be.
    pub fn saved(&mut self) {
        self.save_at = None;
    }
}

/// This PC's clock in Unix ms.
pub fn wall_ms() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis());
    i64::try_from(elapsed).unwrap_or(i64::MAX)
}

/// Party time from the freshest measurement there is; with the server away, from the one kept.
fn party_clock(cache: &PartyCache, client: &ControlClient, now: Instant) -> PartyClock {
    let offset = client
        .server_clock()
        .map_or(cache.clock_offset_ms, |clock| clock.offset_ms);
    PartyClock::new(now, u64::try_from(wall_ms().saturating_add(offset)).unwrap_or(0))
}
