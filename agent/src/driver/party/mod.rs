//! The party this agent is in: the engine, its stream, and what is kept on disk.

mod memory;
mod messages;
mod network;
mod secrets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanrage_agent_core::batch::{Outgoing, PathInUse};
use lanrage_agent_core::dataplane::PeerLink;
use lanrage_agent_core::engine::{Config, Engine, Event};
use lanrage_agent_core::path::PartyClock;
use lanrage_shared::api::party::Member;
use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{MemberId, RelayId};
use lanrage_shared::keys::DeviceSecret;
use lanrage_shared::signal;
use lanrage_shared::stream::ClientMessage;
use tokio::sync::mpsc;

use self::secrets::Renewal;
pub use self::secrets::remember_invite;
use tracing::Span;

use super::dataplane::DataPlane;
use super::relays::{Membership, RelayEvent, Relays};
use super::stream::{Stream, StreamEvent};
use crate::io::control::ControlClient;
use crate::state::{Identity, PartyCache};

/// Changes are written this long after the first of them, so that a busy minute is not a minute of fsync.
const SAVE_DELAY: Duration = Duration::from_millis(200);

/// What the agent's loop has to do after the party took an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Stays,
    /// The party has another network: everything that knows addresses begins anew.
    Moved,
    /// This device is no longer a member, for the reason given in words.
    Over(String),
}

/// Where a party's session hears from.
pub struct Events {
    pub stream: mpsc::Receiver<StreamEvent>,
    pub relays: mpsc::Receiver<RelayEvent>,
}

/// The party this agent is in.
pub struct PartySession {
    pub cache: PartyCache,
    pub client: Arc<ControlClient>,
    pub engine: Engine,
    /// What is logged about the party is logged in it.
    pub span: Span,
    /// Since when the server is (not) reachable, and why not.
    pub server_reachable: bool,
    pub server_since: Instant,
    pub server_problem: Option<String>,
    /// The services the engine was last told of changed; the loop resolves their names.
    pub services_changed: bool,
    links: BTreeMap<MemberId, Arc<PeerLink>>,
    stream: Stream,
    relays: Relays,
    /// Relays last offered to them.
    offered: Vec<Relay>,
    /// Relays last asked for on behalf of peers.
    for_peers: Vec<RelayId>,
    known: Arc<AtomicU64>,
    known_secret: Arc<AtomicU32>,
    renewal: Renewal,
    device: DeviceSecret,
    /// When this PC last woke up, and how much of the sleep [`Instant`] does not know of.
    woke: Option<(Instant, Duration)>,
    save_at: Option<Instant>,
    saved: Instant,
    /// When everything was looked at anew.
    looked_anew: Instant,
}

impl PartySession {
    /// Enters the party in `cache`: opens tunnels to everybody known and starts the stream.
    pub fn start(
        mut cache: PartyCache,
        client: Arc<ControlClient>,
        identity: &Identity,
        interfaces: Vec<SocketAddr>,
        data_plane: &DataPlane,
    ) -> (Self, Events) {
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
        let (device, party) = (identity.identity.device_id(), cache.party.id);
        // At this level it is there whichever lines are logged.
        let span = tracing::error_span!("party", %device, %party);
        let in_party = span.clone().entered();
        let mut engine = Engine::new(config, now);
        engine.handle_interfaces(interfaces, now);
        let remembered = memory::begin(&mut cache, &mut engine, now);
        // The snapshot at the first connection is what the cache may have missed.
        let known = Arc::new(AtomicU64::new(cache.seq));
        let known_secret = Arc::new(AtomicU32::new(cache.secret_epoch));
        let (stream, stream_events) = Stream::start(
            Arc::clone(&client),
            cache.party.id,
            Arc::clone(&known),
            Arc::clone(&known_secret),
        );
        let membership = Membership {
            client: Arc::clone(&client),
            identity: Arc::clone(&identity.identity),
            party: cache.party.id,
            net: cache.party.net,
            tokens: cache.relay_tokens.clone(),
            clock_offset_ms: cache.clock_offset_ms,
            rtts: remembered.rtts,
        };
        let (relays, relay_events) = Relays::start(membership, data_plane);
        let mut session = Self {
            cache,
            client,
            engine,
            span,
            server_reachable: false,
            server_since: now,
            server_problem: None,
            services_changed: true,
            links: BTreeMap::new(),
            stream,
            relays,
            offered: Vec::new(),
            for_peers: Vec::new(),
            known,
            known_secret,
            renewal: Renewal::default(),
            device: identity.device.clone(),
            woke: None,
            save_at: None,
            saved: now,
            looked_anew: now,
        };
        session.offer_relays(remembered.relays);
        session.carry_out(data_plane);
        drop(in_party);
        let events = Events {
            stream: stream_events,
            relays: relay_events,
        };
        (session, events)
    }

    /// Takes what the relays say.
    pub fn handle_relays(&mut self, event: RelayEvent, data_plane: &DataPlane) {
        let now = Instant::now();
        match event {
            RelayEvent::Sessions { known, own } => {
                self.engine.handle_known_relays(known, now);
                self.engine.handle_relays(own, now);
                self.remember_relays();
            }
            RelayEvent::Undelivered { relay, member } => self.engine.handle_undelivered(relay, member, now),
            RelayEvent::Tokens(tokens) => {
                self.cache.relay_tokens = tokens;
                self.save_at = Some(now);
            }
        }
        self.carry_out(data_plane);
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

    /// Feeds the engine with what the packet threads saw.
    pub fn handle_traffic(&mut self, data_plane: &DataPlane, now: Instant) {
        let epoch = data_plane.table.load().epoch;
        for (member, link) in &self.links {
            let (sent, received) = link.last_traffic(epoch);
            self.engine.handle_traffic(*member, sent, received);
            if let Some(path) = link.path() {
                self.engine.handle_spoke_from(*member, path.route, now);
            }
        }
        self.remember_paths(now);
        self.refresh_if_stale(now);
        self.renew_secret_if_due();
    }

    /// Does what the engine decided.
    pub fn carry_out(&mut self, data_plane: &DataPlane) {
        let mut members_changed = false;
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::PeerAdded { member, psk, probe_tag } => {
                    let tunnel = data_plane.wireguard.tunnel(&member.device_key, Some(psk));
                    let link = PeerLink::new(
                        member.id,
                        member.device_key,
                        member.virtual_ip,
                        member.virtual_ip6,
                        tunnel,
                    );
                    link.probe_tags.lock().push(probe_tag);
                    self.links.insert(member.id, Arc::new(link));
                    members_changed = true;
                }
                Event::PeerRemoved { member } => {
                    self.links.remove(&member);
                    members_changed = true;
                }
                Event::Rekeyed {
                    member,
                    probe_tags,
                    psk,
                } => {
                    if let Some(link) = self.links.get(&member) {
                        *link.probe_tags.lock() = probe_tags;
                        psk.into_iter().for_each(|psk| link.set_psk(psk));
                        members_changed = true;
                    }
                }
                Event::Path { member, path } => self.change_path(member, path, data_plane),
                Event::Signal {
                    sealed,
                    through: Some(route),
                    ..
                } => {
                    let mut send = Outgoing::default();
                    send.push(route, signal::to_datagram(&sealed).as_slice().into());
                    data_plane.network.send(&mut send);
                }
                Event::Signal { to, sealed, .. } => self.stream.send(ClientMessage::Signal { to, sealed }),
                Event::Presence(presence) => self.stream.send(ClientMessage::Presence { presence }),
                Event::CloseSides(sockets) => data_plane.close_sides(&sockets),
            }
            if members_changed {
                members_changed = false;
                self.publish(data_plane);
            }
        }
        data_plane.send(std::iter::from_fn(|| self.engine.poll_transmit()));
        let for_peers = self.engine.missing_relays();
        if self.for_peers != for_peers {
            self.relays.need_for_peers(for_peers.clone());
            self.for_peers = for_peers;
        }
    }

    fn change_path(&mut self, member: MemberId, path: Option<PathInUse>, data_plane: &DataPlane) {
        let Some(link) = self.links.get(&member) else { return };
        tracing::debug!(peer = %member, ?path, "path");
        let had_path = link.path().is_some();
        link.set_path(path);
        let has_session = self.has_session(link, Instant::now());
        if path.is_some() && !has_session && (!had_path || self.is_waking() || self.engine.opens_session(&link.key)) {
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
        self.saved = Instant::now();
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
