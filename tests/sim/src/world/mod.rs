//! One run of a scenario: everything that is under way, in the order of a virtual clock.

mod agents;
mod checks;
mod faults;
mod idling;
mod questions;
mod relays;
mod streams;
mod wires;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_shared::ids::{DeviceKey, MemberId};
use lanrage_shared::keys::PartySecret;
use lanrage_shared::pair::ProbeKey;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

pub use self::checks::{Summary, Violation};
pub use self::idling::Idled;
use crate::control::{Control, Down, Up};
use crate::net::{Arrival, Net};
use crate::pc::{Pc, Role};
use crate::relay::{Port, SimRelay, Tokens};
use crate::scenario::{Scenario, Transition};

/// Party time at the start of a run, in ms.
const START_MS: u64 = 1_700_000_000_000;
/// How often an agent's driver runs WireGuard's timers and looks at the traffic.
const TICK: Duration = Duration::from_millis(250);
/// After this long without a fault, everybody who can has a path.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long a packet may take.
const ARRIVES_WITHIN: Duration = Duration::from_secs(1);
/// Events at one moment that can only be a loop.
const MAX_AT_ONCE: u32 = 5000;

/// What is under way.
enum Happening {
    Arrival(Arrival),
    ToRelay {
        relay: usize,
        port: Port,
        frame: Bytes,
    },
    FromRelay {
        relay: usize,
        port: Port,
        frame: Bytes,
    },
    ToControl {
        stream: u64,
        message: Up,
    },
    FromControl {
        pc: usize,
        stream: u64,
        message: Down,
    },
    /// An agent tries to reach the control server.
    Connect {
        pc: usize,
        run: u64,
    },
    /// An agent, or the server, notices that a stream is over.
    StreamLost {
        pc: usize,
        stream: u64,
    },
    StreamClosed {
        stream: u64,
    },
    /// An attempt to reach a relay comes to its end.
    RelayConnect {
        pc: usize,
        run: u64,
        relay: usize,
        late: bool,
    },
    RelayRetry {
        pc: usize,
        run: u64,
        relay: usize,
    },
    RelayLost {
        port: Port,
    },
    /// Neither end of a connection has heard the other for as long as QUIC waits.
    RelaySilent {
        port: Port,
        home: usize,
        relay: usize,
    },
    RelayRtt {
        pc: usize,
        run: u64,
        relay: usize,
    },
    RelayChoice {
        pc: usize,
        run: u64,
    },
    RelayUp {
        relay: usize,
        start: u64,
    },
    OfferChange,
    Tick {
        pc: usize,
        run: u64,
    },
    StartAgent {
        pc: usize,
        run: u64,
    },
    Fault(Transition),
    FaultOver,
    /// Nothing happened since this mark.
    Check {
        mark: u64,
    },
    Verdict {
        mark: u64,
    },
    Finale(Finale),
}

/// What is looked at when nothing happens any more.
#[derive(Debug, Clone, Copy)]
enum Finale {
    /// Everybody plays with everybody.
    AllBusy,
    /// Nobody plays.
    AllIdle,
    /// The idle engines have settled; what they do from now on is counted.
    Count,
    Rested,
    AllBusyAgain,
    End,
}

/// A packet of a game, as WireGuard would carry it.
struct Packet {
    sender: usize,
    key: DeviceKey,
    psks: Vec<[u8; 32]>,
    to: MemberId,
}

/// A packet of which it is looked at whether it arrives.
struct Canary {
    from: usize,
    to: usize,
    packet: u64,
    arrived: bool,
    /// How it was sent.
    route: String,
}

pub struct World {
    start: Instant,
    now: Instant,
    rng: StdRng,
    sequence: u64,
    queue: BTreeMap<(Instant, u64), Happening>,
    net: Net,
    control: Control,
    tokens: Tokens,
    relays: Vec<SimRelay>,
    relay_starts: u64,
    revocations: u64,
    pcs: Vec<Pc>,
    connections: u64,
    control_down: Option<Instant>,
    /// In which direction each stream's last message arrives.
    stream_clock: HashMap<(u64, bool), Instant>,
    packets: HashMap<u64, Packet>,
    next_packet: u64,
    /// By the tag that probes sealed with it begin with.
    probe_keys: BTreeMap<[u8; 4], ProbeKey>,
    busy_percent: u8,
    everybody_plays: Option<bool>,
    mark: u64,
    canaries: Vec<Canary>,
    at_once: u32,
    counting: bool,
    violation: Option<Violation>,
    summary: Summary,
    log: Option<Vec<String>>,
}

impl World {
    /// `noting`: what happens is kept in words, for a violation.
    pub fn new(scenario: &Scenario, noting: bool) -> Self {
        // The one reading of the clock: an instant has no other beginning.
        let start = Instant::now();
        let mut rng = StdRng::seed_from_u64(scenario.seed);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let relays = scenario.relays.iter().enumerate();
        let mut world = Self {
            start,
            now: start,
            rng,
            sequence: 0,
            queue: BTreeMap::new(),
            net: Net::new(&scenario.homes),
            control: Control::new(PartySecret::from_bytes(secret)),
            tokens: Tokens::new(),
            relays: relays.map(|(index, delay)| SimRelay::new(index, *delay)).collect(),
            relay_starts: 0,
            revocations: 0,
            pcs: Vec::new(),
            connections: 0,
            control_down: None,
            stream_clock: HashMap::new(),
            packets: HashMap::new(),
            next_packet: 0,
            probe_keys: BTreeMap::new(),
            busy_percent: scenario.busy_percent,
            everybody_plays: None,
            mark: 0,
            canaries: Vec::new(),
            at_once: 0,
            counting: false,
            violation: None,
            summary: Summary::default(),
            log: noting.then(Vec::new),
        };
        for relay in 0..world.relays.len() {
            world.start_relay(relay);
        }
        for (index, home) in scenario.pcs.iter().enumerate() {
            let place = world.free_place(*home);
            world.pcs.push(Pc::new(index, *home, place));
        }
        for pc in 0..scenario.members.min(scenario.pcs.len()) {
            world.join(pc);
        }
        world.plan(scenario);
        world
    }

    /// Runs to the end, or to the first violation.
    pub fn run(mut self) -> Result<Summary, Violation> {
        while let Some(next) = self.next_time() {
            self.at_once = if next > self.now { 0 } else { self.at_once + 1 };
            if self.at_once > MAX_AT_ONCE {
                self.violate("never at rest: the same moment goes on and on".to_owned());
            }
            self.now = self.now.max(next);
            self.step();
            if let Some(mut violation) = self.violation.take() {
                violation.log = self.log.take().unwrap_or_default();
                return Err(violation);
            }
            if self.summary.ended {
                break;
            }
        }
        self.summary.seconds = (self.now - self.start).as_secs();
        Ok(self.summary)
    }

    fn next_time(&self) -> Option<Instant> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let wakes = self.pcs.iter().filter_map(|pc| pc.agent.as_ref()?.wake);
        wakes.chain(queued).min()
    }

    fn step(&mut self) {
        let due = (0..self.pcs.len()).find(|pc| {
            let agent = self.pcs[*pc].agent.as_ref();
            agent.and_then(|agent| agent.wake).is_some_and(|at| at <= self.now)
        });
        if let Some(pc) = due {
            self.wake(pc);
            return;
        }
        if let Some((_, happening)) = self.queue.pop_first() {
            self.handle(happening);
        }
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(arrival) => self.arrive(arrival),
            Happening::ToRelay { relay, port, frame } => self.reach_relay(relay, port, frame),
            Happening::FromRelay { relay, port, frame } => self.arrive_from_relay(relay, port, &frame),
            Happening::ToControl { stream, message } => {
                self.control.handle(stream, message);
                self.flush_control();
            }
            Happening::FromControl { pc, stream, message } => self.hear(pc, stream, message),
            Happening::Connect { pc, run } => self.connect(pc, run),
            Happening::StreamLost { pc, stream } => self.lose_stream(pc, stream),
            Happening::StreamClosed { stream } => {
                self.control.close(stream);
                self.flush_control();
            }
            Happening::RelayConnect { pc, run, relay, late } => self.enter_relay(pc, run, relay, late),
            Happening::RelayRetry { pc, run, relay } => self.try_relay(pc, run, relay),
            Happening::RelayLost { port } => self.lose_relay(port),
            Happening::RelaySilent { port, home, relay } => self.give_up_relay(port, home, relay),
            Happening::RelayRtt { pc, run, relay } => self.measure_relay(pc, run, relay),
            Happening::RelayChoice { pc, run } => self.choose_relays(pc, run),
            Happening::RelayUp { relay, start } => self.relay_up(relay, start),
            Happening::OfferChange => self.offer_relays(),
            Happening::Tick { pc, run } => self.tick(pc, run),
            Happening::StartAgent { pc, run } => self.start_agent(pc, run),
            Happening::Fault(transition) => self.fault(transition),
            Happening::FaultOver => {
                self.mark();
                self.forgive();
            }
            Happening::Check { mark } => self.check(mark),
            Happening::Verdict { mark } => self.judge(mark),
            Happening::Finale(finale) => self.finish(finale),
        }
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn unix_ms(&self) -> u64 {
        START_MS + u64::try_from((self.now - self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(least_ms..=most_ms))
    }

    fn free_place(&self, home: usize) -> u8 {
        let taken = |place: &u8| self.pcs.iter().any(|pc| (pc.home, pc.place) == (home, *place));
        (1..16).find(|place| !taken(place)).unwrap_or(15)
    }

    fn pc_of(&self, member: MemberId) -> Option<usize> {
        self.pcs
            .iter()
            .position(|pc| matches!(pc.role, Role::Member(number) if number == member))
    }

    fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let line = format!("{:>9.3} {}", (self.now - self.start).as_secs_f64(), text(self));
            if let Some(log) = &mut self.log {
                log.push(line);
            }
        }
    }
}
