//! One party, seen from this agent.
//!
//! The engine is told who the peers are (by the control stream, or by the cache while the server is away), what they signal,
//! which datagrams arrived and what time it is. It finds out where this PC can be reached ([`crate::nat`]), tells the peers,
//! probes what they tell, and says which path each peer has. The driver carries out its [`Event`]s.

mod addresses;
mod members;
mod network;
mod peer;
mod prediction;
mod reason;
mod relays;
mod remembered;
mod signalling;
mod telling;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::game::Playing;
use lanrage_shared::api::party::{Member, Party};
use lanrage_shared::api::presence::{Mapping, NatSummary, Presence};
use lanrage_shared::ids::{DeviceKey, MemberId};
use lanrage_shared::keys::{DeviceSecret, PartySecret};
use lanrage_shared::signal::{self, Candidate};
use lanrage_shared::wire::probe;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::addresses::OwnAddresses;
use self::peer::Peer;
pub use self::relays::OwnRelay;
pub use self::view::PeerView;
use crate::batch::{Packet, PathInUse, Route, SideNumber};
use crate::nat::prediction::PortPrediction;
use crate::nat::{Discovery, NatReport, Socket, StunEndpoint};
use crate::path::{Context, PartyClock};
use crate::relays::KnownRelay;

/// Signals wait this long for the first answer of a STUN server; without UDP there will be none.
const PATIENCE: Duration = Duration::from_millis(400);
/// A path needs no probe of ours when a packet said the same; the answer still has to come, this often at least.
const TRAFFIC_TICK: Duration = Duration::from_millis(500);

/// What a new engine starts from.
pub struct Config {
    pub me: MemberId,
    pub device: DeviceSecret,
    pub secret: PartySecret,
    pub party: Party,
    pub clock: PartyClock,
    /// Seeds transaction ids, nonces and jitter; from a cryptographic generator.
    pub seed: [u8; 32],
    /// This program's version, for presence.
    pub agent_version: String,
}

/// What the driver has to do or know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A peer to open a tunnel for.
    PeerAdded {
        member: Member,
        psk: [u8; 32],
        /// Starts every probe of the peer's.
        probe_tag: [u8; 4],
    },
    /// A peer's tunnel is over.
    PeerRemoved { member: MemberId },
    /// The peer's probes may start with these from now on, and if there is a key, its handshakes have it: it knows the party's
    /// new secret.
    Rekeyed {
        member: MemberId,
        probe_tags: Vec<[u8; 4]>,
        psk: Option<[u8; 32]>,
    },
    /// Packets to the peer go here from now on; none: nowhere.
    Path { member: MemberId, path: Option<PathInUse> },
    /// For the control server to pass on, or for a relay while the server is away.
    Signal {
        to: MemberId,
        sealed: String,
        through: Option<Route>,
    },
    /// For the control server and the party.
    Presence(Presence),
    /// Side sockets that nothing needs any more.
    CloseSides(Vec<SideNumber>),
}

/// One party, seen from this agent.
pub struct Engine {
    me: MemberId,
    device: DeviceSecret,
    secret: PartySecret,
    net: PartyNet,
    clock: PartyClock,
    rng: StdRng,
    run: u64,
    generation: u64,
    agent_version: String,
    started: Instant,
    /// None until it was tried for the first time.
    server_reachable: Option<bool>,
    peers: BTreeMap<MemberId, Peer>,
    by_tag: BTreeMap<[u8; 4], MemberId>,
    stun_servers: Vec<StunEndpoint>,
    discovery: Option<Discovery>,
    prediction: PortPrediction,
    /// What it wants sent, in this order.
    guessing: VecDeque<Packet>,
    /// Sockets of attempts that are over.
    guessed_from: Vec<SideNumber>,
    nat: NatReport,
    own: OwnAddresses,
    relays: Vec<OwnRelay>,
    /// All that are offered.
    known_relays: Vec<KnownRelay>,
    told_presence: Option<Presence>,
    /// What is played on this PC, and the pause between keepalives that it asks for.
    playing: Option<Playing>,
    game_keepalive: Option<Duration>,
    events: VecDeque<Event>,
}

impl Engine {
    /// An engine for the party in `config`, with every member a peer already.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut engine = Self {
            me: config.me,
            device: config.device,
            secret: config.secret,
            net: config.party.net,
            clock: config.clock,
            run: config.clock.ms(now),
            rng: StdRng::from_seed(config.seed),
            generation: 0,
            agent_version: config.agent_version,
            started: now,
            server_reachable: None,
            peers: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            stun_servers: Vec::new(),
            discovery: None,
            prediction: PortPrediction::default(),
            guessing: VecDeque::new(),
            guessed_from: Vec::new(),
            nat: NatReport::default(),
            own: OwnAddresses::default(),
            relays: Vec::new(),
            known_relays: Vec::new(),
            told_presence: None,
            playing: None,
            game_keepalive: None,
            events: VecDeque::new(),
        };
        engine.handle_members(&config.party.members, now);
        engine
    }

    /// The control stream opened or broke.
    pub fn handle_server(&mut self, reachable: bool, now: Instant) {
        if Some(reachable) == self.server_reachable {
            return;
        }
        self.server_reachable = Some(reachable);
        self.told_presence = None;
        let members: Vec<MemberId> = self.peers.keys().copied().collect();
        for member in members {
            self.tell_signalling(member, now);
        }
        self.tell_presence();
    }

    /// The server's time, measured again.
    pub fn handle_clock(&mut self, clock: PartyClock) {
        self.clock = clock;
    }

    fn try_addresses(&mut self, member: MemberId, candidates: Vec<Candidate>, now: Instant) {
        let Some(peer) = self.peers.get_mut(&member) else {
            return;
        };
        let (own, net) = (&self.own, &self.net);
        peer.named = candidates
            .into_iter()
            .filter(|candidate| own.may_probe(&candidate.address, net))
            .collect();
        peer.paths.handle_candidates(&peer.named, now);
    }

    /// A datagram that is not WireGuard: a probe or a STUN answer. Gives false when it is neither, or not authentic.
    pub fn handle_packet(&mut self, packet: &Packet, now: Instant) -> bool {
        if let (Route::Relay { member, .. }, Some(sealed)) = (packet.peer, signal::from_datagram(&packet.data)) {
            self.handle_signal(member, sealed, now);
            return true;
        }
        let Some(tag) = probe::tag_of(&packet.data) else {
            let Some(from) = packet.peer.address() else {
                return false;
            };
            let answered = self
                .discovery
                .as_mut()
                .is_some_and(|discovery| discovery.handle_datagram(from, &packet.data, now));
            self.drain_discovery(now);
            return answered || self.handle_sounded(packet, now);
        };
        let Some(member) = self.by_tag.get(&tag).copied() else {
            return false;
        };
        if self.is_left(packet.peer) {
            return true;
        }
        self.with_paths(member, now, |peer, cx| {
            peer.paths.handle_probe(packet.peer, &packet.data, cx)
        })
        .unwrap_or(false)
    }

    /// When packets last went to a peer, and last came from it over its path.
    pub fn handle_traffic(&mut self, member: MemberId, sent: Option<Instant>, received: Option<Instant>) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.paths.handle_traffic(sent, received);
        }
    }

    /// An authentic packet came over `route` while the peer had no path: the tunnel answers there until a probe decides.
    pub fn handle_spoke_from(&mut self, member: MemberId, route: Route, now: Instant) {
        if !self.is_left(route)
            && let Some(peer) = self.peers.get_mut(&member)
            && !peer.has_path()
            && route
                .address()
                .is_none_or(|address| self.own.may_probe(&address, &self.net))
        {
            peer.paths.handle_spoke_from(route, now);
        }
    }

    /// Runs everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(discovery) = &mut self.discovery {
            discovery.handle_timeout(now);
        }
        self.drain_discovery(now);
        let members: Vec<MemberId> = self.peers.keys().copied().collect();
        for &member in &members {
            self.with_paths(member, now, |peer, cx| peer.paths.handle_timeout(cx));
        }
        self.predict(now);
        for member in members {
            self.signal_if_due(member, now);
        }
        self.try_last_resort(now);
    }

    /// When [`Engine::handle_timeout`] wants to run next, and why.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let ready = self.ready_at();
        let peers = self.peers.values().flat_map(|peer| {
            let due = peer.signalling.due(peer.reach()).filter(|_| self.may_signal(peer));
            let signal = due.map(|at| (at.max(ready), "signal"));
            [peer.paths.poll_timeout(now), signal]
        });
        let discovery = self.discovery.as_ref().and_then(Discovery::poll_timeout);
        let prediction = self.prediction.poll_timeout();
        peers.chain([discovery, prediction]).flatten().min()
    }

    /// How often the driver should report traffic ([`Engine::handle_traffic`]).
    pub fn traffic_interval(&self) -> Duration {
        TRAFFIC_TICK
    }

    /// Datagrams to send, and from which socket.
    pub fn poll_transmit(&mut self) -> Option<(Socket, Packet)> {
        let discovery = self.discovery.as_mut().and_then(Discovery::poll_transmit);
        let discovery = discovery.map(|ask| {
            let data = ask.bytes.as_slice().into();
            (
                ask.from,
                Packet {
                    peer: ask.to.into(),
                    data,
                },
            )
        });
        discovery.or_else(|| {
            let probe = self.peers.values_mut().find_map(|peer| peer.paths.poll_transmit());
            let packet = probe.or_else(|| self.guessing.pop_front());
            packet.map(|packet| (Socket::Main, packet))
        })
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether every question about the network has its first answer: signals are not held back any more.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.ready_at() <= now
    }

    /// The key that decides which side of a pair opens the WireGuard session when both could: the lower one.
    pub fn opens_session(&self, peer: &DeviceKey) -> bool {
        self.device.public() < *peer
    }

    fn with_paths<T>(
        &mut self,
        member: MemberId,
        now: Instant,
        work: impl FnOnce(&mut Peer, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let peer = self.peers.get_mut(&member)?;
        let mut cx = Context {
            now,
            clock: self.clock,
            rng: &mut self.rng,
            run: self.run,
            nat: NatSummary {
                mapping: self.nat.mapping,
                filtering: self.nat.filtering,
                port_mapping: self.own.port_mapped.is_some(),
            },
        };
        let result = work(peer, &mut cx);
        if peer.old_keys.is_some() && peer.paths.is_rekeyed() {
            peer.old_keys = None;
            self.events.push_back(Event::Rekeyed {
                member,
                probe_tags: peer.paths.receive_tags().collect(),
                psk: Some(peer.keys.psk),
            });
        }
        let path = peer.paths.selected().map(|path| path.in_use());
        if peer.told != path {
            let is_direct = |path: &PathInUse| path.route.address().is_some();
            if peer.told.as_ref().is_some_and(is_direct) != path.as_ref().is_some_and(is_direct) {
                peer.signalling.handle_path(peer.reach(), now);
                if let Some(discovery) = &mut self.discovery
                    && !path.as_ref().is_some_and(is_direct)
                {
                    discovery.handle_doubt(now);
                }
            }
            if peer.told.is_none() != path.is_none() {
                peer.signalling.try_anew();
            }
            if path.is_none() {
                peer.paths.handle_candidates(&peer.named, now);
            }
            peer.told = path;
            self.events.push_back(Event::Path { member, path });
        }
        Some(result)
    }

    /// From when on signals go out: at once when the public address is known, else after some patience.
    fn ready_at(&self) -> Instant {
        let settled = self.own.mapped.is_some() || self.nat.mapping != Mapping::Unknown;
        if settled { self.started } else { self.started + PATIENCE }
    }
}

#[cfg(test)]
mod tests;
