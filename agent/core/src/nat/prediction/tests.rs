//! Two PCs, their routers and a STUN server, in virtual time.

use lanrage_relay_core::stun::{Listen, LocalPort, Received, Responder, Verdict};
use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::nat::model::NatModel;

const ONE_WAY: Duration = Duration::from_millis(10);
const STUN: [u8; 4] = [203, 0, 113, 10];
const PORTS: [u16; 2] = [3478, 3479];
const HARD: MemberId = MemberId(1);
const EASY: MemberId = MemberId(2);

/// Where a datagram comes from or goes to inside its home.
fn host(side: Option<SideNumber>) -> SocketAddr {
    let port = side.map_or(4000, |side| 10_000 + side.0 as u16);
    ([192, 168, 1, 10], port).into()
}

struct World {
    now: Instant,
    start: Instant,
    rng: StdRng,
    hard: PortPrediction,
    easy: PortPrediction,
    hard_nat: NatModel,
    easy_nat: NatModel,
    stun: Responder,
    /// Answers of the STUN server under way: the side socket and the datagram.
    answers: Vec<(Instant, Route, Vec<u8>)>,
    guesses: Vec<(Instant, PortGuess)>,
    /// When each router saw something new, the hard side's first.
    new: [Vec<Instant>; 2],
    seen: [std::collections::BTreeSet<(SocketAddr, SocketAddr)>; 2],
    closed: Vec<SideNumber>,
    /// When a probe got through both routers.
    met: Option<Instant>,
    server_silent: bool,
    /// Other traffic behind the hard side's router takes this many ports with every packet of ours.
    busy: u16,
}

fn world(seed: u64, hard_nat: impl FnOnce(NatModel) -> NatModel) -> World {
    let start = Instant::now();
    let lifetime = Duration::from_secs(60);
    let nat = |mapping, last| {
        NatModel::new(
            mapping,
            Filtering::AddressAndPortDependent,
            [198, 51, 100, last].into(),
            lifetime,
        )
    };
    let mut world = World {
        now: start,
        start,
        rng: StdRng::seed_from_u64(seed),
        hard: PortPrediction::default(),
        easy: PortPrediction::default(),
        hard_nat: hard_nat(nat(Mapping::AddressAndPortDependent, 1)),
        easy_nat: nat(Mapping::EndpointIndependent, 2),
        stun: Responder::new(Listen::new(vec![STUN.into()], PORTS).unwrap()),
        answers: vec![],
        guesses: vec![],
        new: [vec![], vec![]],
        seen: Default::default(),
        closed: vec![],
        met: None,
        server_silent: false,
        busy: 0,
    };
    let server = StunEndpoint {
        address: (STUN, PORTS[0]).into(),
        second_port: PORTS[1],
    };
    world.hard.handle_servers(&[server]);
    // The easy side's mapping, as its STUN server sees it.
    world.easy_nat.outbound(host(None), (STUN, PORTS[0]).into(), start);
    world
}

impl World {
    fn easy_address(&mut self) -> SocketAddr {
        let stun = (STUN, PORTS[0]).into();
        self.easy_nat.outbound(host(None), stun, self.now).unwrap()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
            self.now += Duration::from_millis(5);
        }
    }

    fn step(&mut self) {
        let wanted = match self.met {
            None => BTreeMap::from([(EASY, self.easy_address())]),
            Some(_) => BTreeMap::new(),
        };
        self.hard.handle_wanted(wanted, self.now);
        let met = |member| self.met.map(|_| member).into_iter().collect();
        self.hard.handle_direct(&met(EASY), self.now);
        self.easy.handle_direct(&met(HARD), self.now);
        self.deliver();
        self.hard.handle_timeout(&mut self.rng, self.now);
        self.easy.handle_timeout(&mut self.rng, self.now);
        while let Some(event) = self.hard.poll_event() {
            match event {
                Event::Guessed(member) => {
                    let guess = self.hard.guess(member).unwrap();
                    self.guesses.push((self.now + 2 * ONE_WAY, guess));
                }
                Event::Over(sockets) => self.closed.extend(sockets),
            }
        }
        while let Some(transmit) = self.hard.poll_transmit() {
            match transmit {
                Transmit::Question(question) => self.ask(&question),
                Transmit::Probe { route, .. } => {
                    let to = route.address().unwrap();
                    let from = self.out_of_hard_home(route.side(), to);
                    if self.easy_nat.inbound(from, to, self.now).is_some() {
                        self.met.get_or_insert(self.now);
                    }
                }
            }
        }
        while let Some(Transmit::Probe { route, .. }) = self.easy.poll_transmit() {
            let to = route.address().unwrap();
            self.note(1, host(None), to);
            let from = self.easy_nat.outbound(host(None), to, self.now).unwrap();
            if self.hard_nat.inbound(from, to, self.now).is_some() {
                self.met.get_or_insert(self.now);
            }
        }
    }

    fn out_of_hard_home(&mut self, side: Option<SideNumber>, to: SocketAddr) -> SocketAddr {
        for port in 0..self.busy {
            let other = ([192, 168, 1, 20], 1000 + port).into();
            let unique = ([8, 8, 8, 8], 1 + self.seen[0].len() as u16).into();
            self.hard_nat.outbound(other, unique, self.now);
        }
        self.note(0, host(side), to);
        self.hard_nat.outbound(host(side), to, self.now).unwrap()
    }

    fn note(&mut self, router: usize, from: SocketAddr, to: SocketAddr) {
        if self.seen[router].insert((from, to)) {
            self.new[router].push(self.now);
        }
    }

    fn ask(&mut self, question: &Packet) {
        let to = question.peer.address().unwrap();
        let from = self.out_of_hard_home(question.peer.side(), to);
        let port = PORTS.iter().position(|port| *port == to.port()).unwrap();
        let on = LocalPort { address: 0, port };
        let received = Received {
            from,
            on,
            to: Some(to.ip()),
        };
        if let (Verdict::Reply { bytes, .. }, false) = (self.stun.handle(&question.data, received), self.server_silent)
        {
            self.answers.push((self.now + 2 * ONE_WAY, question.peer, bytes));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.answers.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, route, bytes) in due {
            // One that comes when the attempt is over is none of its business any more.
            self.hard.handle_datagram(route, &bytes, now);
        }
        let due: Vec<_> = self.guesses.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, guess) in due {
            self.easy.handle_guess(HARD, guess, now);
        }
    }

    fn met_after(&self) -> Option<Duration> {
        self.met.map(|met| met - self.start)
    }

    /// Most new mappings at either router within a second.
    fn peak(&self) -> usize {
        let peak = |new: &Vec<Instant>| {
            let within = |at: &Instant| {
                new.iter()
                    .filter(|other| *other >= at && **other < *at + Duration::from_secs(1))
                    .count()
            };
            new.iter().map(within).max().unwrap_or(0)
        };
        self.new.iter().map(peak).max().unwrap_or(0)
    }
}

#[test]
fn ports_given_out_in_a_row_are_guessed_within_a_breath() {
    for busy in [0, 1, 5] {
        let mut world = world(1, |nat| nat);
        world.busy = busy;
        world.run(Duration::from_secs(3));
        let met = world.met_after().unwrap();
        assert!(met < Duration::from_millis(200), "{busy}: {met:?}");
        assert!(world.new[0].len() <= 3);
    }
}

#[test]
fn random_ports_are_met_in_nine_of_ten_first_attempts_under_the_cap() {
    let mut met = 0;
    for seed in 0..20 {
        let mut world = world(seed, |nat| nat.drawing_ports(seed));
        world.run(Duration::from_secs(12));
        met += usize::from(world.met.is_some());
        assert!(world.peak() <= budget::MAX_NEW_MAPPINGS, "{}", world.peak());
    }
    assert!(met >= 18, "{met} of 20");
}

#[test]
fn an_attempt_ends_after_ten_seconds_and_the_next_waits_longer_each_time() {
    let mut world = world(1, |nat| nat.drawing_ports(1));
    let mut begun = vec![];
    while world.now < world.start + Duration::from_secs(300) {
        let before = world.new[0].len();
        // The other side never hears of it.
        world.guesses.clear();
        world.step();
        if world.new[0].len() > before {
            begun.push(world.now - world.start);
        }
        world.now += Duration::from_millis(50);
        assert!(world.met.is_none());
    }
    let mut attempts: Vec<(Duration, Duration)> = vec![];
    for at in begun {
        match attempts.last_mut() {
            Some((_, last)) if at - *last < Duration::from_secs(5) => *last = at,
            _ => attempts.push((at, at)),
        }
    }
    let lengths: Vec<u64> = attempts
        .iter()
        .map(|(first, last)| (*last - *first).as_secs())
        .collect();
    assert!(lengths.iter().all(|length| (8..=11).contains(length)), "{lengths:?}");
    let pauses: Vec<u64> = attempts
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).as_secs())
        .collect();
    assert_eq!(pauses, [41, 71, 131]);
}

#[test]
fn sockets_of_an_attempt_are_given_up_with_it() {
    let mut world = world(3, |nat| nat);
    world.run(Duration::from_secs(1));
    assert!(world.met.is_some());
    assert_eq!(world.closed, [SideNumber(1)]);
}

#[test]
fn a_way_that_does_not_last_is_not_guessed_again_at_once() {
    let mut world = world(1, |nat| nat);
    world.run(Duration::from_secs(1));
    let first = world.new[0].len();
    // The router forgets it at once.
    world.met = None;
    world.hard_nat.forget();
    world.run(Duration::from_secs(25));
    assert_eq!(world.new[0].len(), first);
    world.run(Duration::from_secs(10));
    assert!(world.met.is_some());
}

#[test]
fn without_an_answer_from_the_server_nothing_is_tried_for_long() {
    let mut world = world(1, |nat| nat);
    world.server_silent = true;
    world.run(Duration::from_secs(29));
    assert_eq!(world.closed.len(), 4);
    assert!(world.guesses.is_empty() && world.met.is_none());
}

#[test]
fn a_member_that_guesses_over_and_over_is_not_followed() {
    let mut easy = PortPrediction::default();
    let (mut rng, start) = (StdRng::seed_from_u64(1), Instant::now());
    let mut shots = 0;
    for ms in (0..60_000).step_by(50) {
        let now = start + Duration::from_millis(ms);
        let guess = PortGuess {
            attempt: ms as u32,
            address: [192, 0, 2, 1].into(),
            ports: None,
        };
        easy.handle_guess(HARD, guess, now);
        easy.handle_timeout(&mut rng, now);
        shots += std::iter::from_fn(|| easy.poll_transmit()).count();
    }
    // Four attempts of ten seconds each.
    assert!(shots <= 4 * 10 * budget::MAX_NEW_MAPPINGS, "{shots}");
}
