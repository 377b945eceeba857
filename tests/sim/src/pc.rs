//! A PC: its keys, where it is, what it keeps on disk, and the agent that runs on it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_agent_core::batch::{PathInUse, RelayNumber, SideNumber};
use lanrage_agent_core::cache::ConnectionCache;
use lanrage_agent_core::engine::{Engine, OwnRelay};
use lanrage_agent_core::relays::RelayChoice;
use lanrage_shared::api::party::Party;
use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::{DeviceKey, MemberId, RelayId};
use lanrage_shared::keys::{DeviceSecret, IdentitySecret, PartySecret};

/// Side sockets have ports from here on.
pub const FIRST_SIDE_PORT: u16 = 1024;

/// What a device is to the party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Outside,
    Member(MemberId),
    /// Was removed, and goes on with the keys it had.
    Kicked(MemberId),
    /// Listed by a server that lies, without the party's secret.
    Impostor(MemberId),
}

impl Role {
    /// The number it goes by, whether it still has it or not.
    pub fn number(self) -> Option<MemberId> {
        match self {
            Self::Outside => None,
            Self::Member(number) | Self::Kicked(number) | Self::Impostor(number) => Some(number),
        }
    }
}

pub struct Pc {
    pub identity: IdentitySecret,
    pub device: DeviceSecret,
    pub role: Role,
    pub home: usize,
    pub place: u8,
    /// Of the agent's UDP socket.
    pub port: u16,
    pub cache: Option<Cache>,
    pub agent: Option<Agent>,
    /// Counts the agents that ran here.
    pub run: u64,
    /// The port of the last side socket.
    pub next_side: u16,
    /// Nothing gets to the control server until then.
    pub partitioned: Option<Instant>,
    /// Since when its agent hears nothing of the control server, which it may not have noticed yet.
    pub cut_off: Option<Instant>,
}

/// What outlives the agent.
pub struct Cache {
    pub party: Party,
    pub secret: PartySecret,
    pub secret_epoch: u32,
    pub connections: ConnectionCache,
    /// The epoch of the relay tokens at hand.
    pub token_epoch: Option<u32>,
}

/// A running agent.
pub struct Agent {
    pub engine: Engine,
    pub links: BTreeMap<MemberId, Link>,
    /// Who is a member, as the control server told it.
    pub told: BTreeMap<MemberId, DeviceKey>,
    pub stream: StreamState,
    pub stream_backoff: Backoff,
    /// Since when the stream is open.
    pub connected: Option<Instant>,
    pub relays: Relays,
    pub wake: Option<Instant>,
    /// When the engine wanted to run lately.
    pub wakes: VecDeque<Instant>,
    /// Probes sent lately, by address, and whether each asked.
    pub probes: BTreeMap<SocketAddr, VecDeque<(Instant, bool)>>,
    /// The ports of side sockets that are open.
    pub sides: BTreeMap<SideNumber, u16>,
    /// The last side socket that was opened.
    pub last_side: Option<SideNumber>,
    /// When a probe first went from a side socket to an address, lately.
    pub side_flows: BTreeMap<(u16, SocketAddr), Instant>,
    pub sent_probes: u64,
    pub timer_runs: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    Away,
    Open(u64),
}

/// The data plane's view of a peer.
#[derive(Debug)]
pub struct Link {
    pub key: DeviceKey,
    /// Of the sessions there may be, the newest last.
    pub psks: Vec<[u8; 32]>,
    /// The secret its first key came from.
    pub since_secret: u32,
    pub path: Option<PathInUse>,
    pub last_sent: Option<Instant>,
    pub last_received: Option<Instant>,
    /// Changes of path since the last fault, for the worse and altogether.
    pub worse: u32,
    pub changes: u32,
}

/// The sessions with relays, as the driver keeps them.
pub struct Relays {
    pub choice: RelayChoice,
    pub seats: BTreeMap<RelayId, Seat>,
    pub next_number: u16,
    pub for_peers: Vec<RelayId>,
}

pub struct Seat {
    pub number: RelayNumber,
    pub backoff: Backoff,
    pub up: Option<Standing>,
}

#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub connection: u64,
    pub since: Instant,
    pub rtt: Duration,
    /// Over TCP nothing is lost.
    pub tcp: bool,
}

impl Relays {
    /// The sessions that stand, the home relay first; `begin` are to be started.
    pub fn adjust(&mut self, now: Instant) -> Adjusted {
        let wanted = self.choice.wanted(&self.for_peers, now);
        let mut ended = Vec::new();
        let standing = |id: &RelayId| self.seats.get(id).is_some_and(|seat| seat.up.is_some());
        let stands = wanted.used.iter().any(|relay| standing(&relay.id));
        if wanted.used.is_empty() || stands {
            let gone = self.seats.iter().filter(|(id, _)| !wanted.contains(id));
            ended.extend(gone.filter_map(|(id, seat)| Some((id.clone(), seat.up?.connection))));
            self.seats.retain(|id, _| wanted.contains(id));
        }
        let mut begin = Vec::new();
        for relay in wanted.used.iter().chain(&wanted.held) {
            if !self.seats.contains_key(&relay.id) {
                let seat = Seat {
                    number: RelayNumber(self.next_number),
                    backoff: Backoff::default(),
                    up: None,
                };
                self.next_number += 1;
                self.seats.insert(relay.id.clone(), seat);
                begin.push(relay.id.clone());
            }
        }
        let ranked = wanted.used.iter().map(|relay| &relay.id);
        let others = self.seats.keys().filter(|id| !stands && !wanted.is_used(id));
        let own = ranked.chain(others).filter_map(|id| {
            let seat = self.seats.get(id)?;
            Some(OwnRelay {
                number: seat.number,
                id: id.clone(),
                rtt_ms: seat.up?.rtt.as_secs_f64() * 1000.0,
            })
        });
        let own = own.collect();
        Adjusted { own, begin, ended }
    }

    pub fn by_number(&self, number: RelayNumber) -> Option<(&RelayId, Standing)> {
        let seat = self.seats.iter().find(|(_, seat)| seat.number == number);
        seat.and_then(|(id, seat)| Some((id, seat.up?)))
    }
}

/// What follows from a change of mind about relays.
pub struct Adjusted {
    pub own: Vec<OwnRelay>,
    pub begin: Vec<RelayId>,
    pub ended: Vec<(RelayId, u64)>,
}

impl Pc {
    pub fn new(index: usize, home: usize, place: u8) -> Self {
        let mut bytes = [40; 32];
        // Not the first: X25519 ignores its lowest bits.
        bytes[1] = u8::try_from(index).unwrap_or(u8::MAX);
        Self {
            identity: IdentitySecret::from_bytes(bytes),
            device: DeviceSecret::from_bytes(bytes),
            role: Role::Outside,
            home,
            place,
            port: 41_000 + u16::try_from(index).unwrap_or_default(),
            cache: None,
            agent: None,
            run: 0,
            next_side: FIRST_SIDE_PORT,
            partitioned: None,
            cut_off: None,
        }
    }
}
