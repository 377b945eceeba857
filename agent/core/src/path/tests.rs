//! Two machines and the network between them, in virtual time.

mod outages;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lanrage_shared::api::presence::NatSummary;
use lanrage_shared::ids::MemberId;
use lanrage_shared::keys::{DeviceSecret, PartySecret};
use lanrage_shared::pair::PairKeys;
use lanrage_shared::wire::probe::Probe;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::choice::is_better;
use super::*;

struct Side {
    paths: PeerPaths,
    rng: StdRng,
    address: SocketAddr,
    /// Whom its NAT lets in; none = everybody.
    opened: Option<BTreeSet<SocketAddr>>,
}

struct Net {
    sides: [Side; 2],
    start: Instant,
    now: Instant,
    /// Arrival time, receiver, sender's address, bytes.
    wire: Vec<(Instant, usize, Route, Packet)>,
    delay: Duration,
    cut: bool,
    /// Whose direct packets do not arrive.
    deaf: [bool; 2],
    /// One way through the relay; none = there is no relay.
    relay_delay: Option<Duration>,
    sent: usize,
    sent_directly: usize,
}

/// What side `i` has while the party secret is made of `secret`.
fn probe_keys(i: usize, secret: u8) -> ProbeKeys {
    let device = |i: usize| DeviceSecret::from_bytes([i as u8 + 1; 32]);
    let secret = PartySecret::from_bytes([secret; 32]);
    ProbeKeys::of(&PairKeys::derive(&secret, &device(i), &device(1 - i).public()))
}

fn net(restricted: bool) -> Net {
    let side = |i: usize, address: &str, seed| Side {
        paths: PeerPaths::new(probe_keys(i, 3)),
        rng: StdRng::seed_from_u64(seed),
        address: address.parse().unwrap(),
        opened: restricted.then(BTreeSet::new),
    };
    let start = Instant::now();
    Net {
        sides: [side(0, "203.0.113.1:1000", 1), side(1, "203.0.113.2:2000", 2)],
        start,
        now: start,
        wire: vec![],
        delay: Duration::from_millis(10),
        cut: false,
        deaf: [false; 2],
        relay_delay: None,
        sent: 0,
        sent_directly: 0,
    }
}

fn relay_to(i: usize) -> Route {
    Route::Relay {
        relay: RelayNumber(0),
        member: MemberId(i as u16 + 1),
    }
}

fn through(route: Route, rtt_ms: f64, load_ms: f64) -> RelayRoute {
    RelayRoute { route, rtt_ms, load_ms }
}

impl Net {
    fn cx<'a>(rng: &'a mut StdRng, now: Instant, start: Instant) -> Context<'a> {
        Context {
            now,
            clock: PartyClock::new(start, 1_000_000),
            rng,
            run: 7,
            nat: NatSummary::default(),
        }
    }

    fn introduce(&mut self) {
        for i in 0..2 {
            let address = self.sides[1 - i].address;
            let candidate = Candidate {
                kind: CandidateKind::Mapped,
                address,
            };
            self.sides[i].paths.handle_candidates(&[candidate], self.now);
        }
    }

    /// Both sides have a session with the relay.
    fn relay(&mut self, delay: Duration) {
        self.relay_delay = Some(delay);
        for i in 0..2 {
            let expected = 2.0 * delay.as_secs_f64() * 1000.0;
            self.sides[i]
                .paths
                .handle_relays(&[through(relay_to(1 - i), expected, 0.0)], self.now);
        }
    }

    /// Both send packets for so long.
    fn play(&mut self, duration: Duration, mut check: impl FnMut(&Self)) {
        let end = self.now + duration;
        while self.now < end {
            for side in &mut self.sides {
                side.paths.handle_traffic(Some(self.now), Some(self.now));
            }
            self.run_until(self.after(50), |_| false);
            check(self);
        }
    }

    /// Whether what side `i` sends now reaches the other.
    fn delivers(&self, i: usize) -> bool {
        self.sides[i].paths.selected().is_some_and(|path| {
            let works = |route: Route| match route {
                Route::Direct(address) => !self.cut && !self.deaf[1 - i] && address == self.sides[1 - i].address,
                Route::Relay { .. } => self.relay_delay.is_some(),
                Route::Side { .. } => false,
            };
            works(path.route) || path.also.is_some_and(works)
        })
    }

    fn is_direct(&self) -> bool {
        self.sides.iter().all(|side| side.paths.has_direct_path())
    }

    fn flush(&mut self, i: usize) {
        while let Some(datagram) = self.sides[i].paths.poll_transmit() {
            self.sent += 1;
            let other = 1 - i;
            let arrival = match datagram.peer {
                Route::Direct(address) => {
                    self.sent_directly += 1;
                    if let Some(opened) = &mut self.sides[i].opened {
                        opened.insert(address);
                    }
                    let arrives = !self.cut && !self.deaf[other] && address == self.sides[other].address;
                    arrives.then(|| (self.delay, Route::from(self.sides[i].address)))
                }
                Route::Relay { .. } => self.relay_delay.map(|delay| (delay, relay_to(i))),
                Route::Side { .. } => None,
            };
            if let Some((delay, from)) = arrival {
                self.wire.push((self.now + delay, other, from, datagram));
            }
        }
    }

    fn run_until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        while !done(self) {
            let timer = self
                .sides
                .iter()
                .filter_map(|side| side.paths.poll_timeout(self.now))
                .map(|(at, _)| at)
                .min();
            let arrival = self.wire.iter().map(|(at, ..)| *at).min();
            let Some(next) = [timer, arrival].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = self.now.max(next);
            let (due, later) = self.wire.drain(..).partition(|(at, ..)| *at <= self.now);
            self.wire = later;
            for (_, to, from, datagram) in Vec::from_iter::<Vec<_>>(due) {
                let side = &mut self.sides[to];
                let passes = |address: SocketAddr| side.opened.as_ref().is_none_or(|opened| opened.contains(&address));
                if from.address().is_none_or(passes) {
                    side.paths
                        .handle_probe(from, &datagram.data, &mut Self::cx(&mut side.rng, self.now, self.start));
                }
            }
            for i in 0..2 {
                let side = &mut self.sides[i];
                side.paths
                    .handle_timeout(&mut Self::cx(&mut side.rng, self.now, self.start));
                self.flush(i);
            }
        }
        true
    }

    fn after(&self, ms: u64) -> Instant {
        self.now + Duration::from_millis(ms)
    }

    fn connected(&self) -> bool {
        self.sides.iter().all(|side| side.paths.selected().is_some())
    }
}

#[test]
fn two_restricted_nats_are_punched_within_a_few_round_trips() {
    let mut net = net(true);
    net.introduce();
    assert!(net.run_until(net.after(250), Net::connected));
    let rtt = net.sides[0].paths.selected().unwrap().rtt_ms.unwrap();
    assert!((rtt - 20.0).abs() < 1.0, "{rtt}");
}

#[test]
fn an_idle_path_costs_few_probes_and_stays() {
    let mut net = net(true);
    net.introduce();
    assert!(net.run_until(net.after(1000), Net::connected));
    net.sent = 0;
    net.run_until(net.after(60_000), |_| false);
    assert!(net.connected());
    assert!(
        net.sent <= 2 * 2 * 5,
        "{} probes and answers in an idle minute",
        net.sent
    );
}

#[test]
fn a_cut_path_is_given_up_within_four_seconds_while_traffic_flows() {
    let mut net = net(false);
    net.introduce();
    assert!(net.run_until(net.after(1000), Net::connected));
    net.cut = true;
    let end = net.after(4500);
    let gone = net.run_until(end, |net| net.sides[0].paths.selected().is_none());
    assert!(!gone, "an idle path is not asked that often");
    for _ in 0..9 {
        let now = net.now;
        net.sides[0].paths.handle_traffic(Some(now), None);
        net.run_until(net.after(500), |_| false);
    }
    assert_eq!(net.sides[0].paths.selected(), None);
}

#[test]
fn a_peer_said_to_be_gone_is_given_up_within_seconds_even_while_idle() {
    let mut net = net(false);
    net.introduce();
    net.run_until(net.after(1000), |_| false);
    assert!(net.connected());
    net.cut = true;
    let now = net.now;
    net.sides[0].paths.handle_doubt(now);
    assert!(net.run_until(net.after(3500), |net| net.sides[0].paths.selected().is_none()));
}

#[test]
fn a_replayed_or_foreign_probe_changes_nothing() {
    let mut net = net(false);
    net.introduce();
    let side = &mut net.sides[0];
    side.paths
        .handle_timeout(&mut Net::cx(&mut side.rng, net.now, net.start));
    let ping = side.paths.poll_transmit().unwrap();
    let victim: SocketAddr = "198.51.100.9:9".parse().unwrap();
    let side = &mut net.sides[1];
    let mut cx = Net::cx(&mut side.rng, net.now, net.start);
    let victim = Route::from(victim);
    assert!(side.paths.handle_probe(victim, &ping.data, &mut cx));
    assert!(!side.paths.handle_probe(victim, &ping.data, &mut cx));
    assert!(!side.paths.handle_probe(victim, &[0xF5; 100], &mut cx));
    side.paths.handle_timeout(&mut cx);
    let to_victim = std::iter::from_fn(|| side.paths.poll_transmit())
        .filter(|datagram| datagram.peer == victim)
        .count();
    assert!(to_victim <= 2, "one answer and one probe at most");
    assert_eq!(side.paths.selected(), None);
}

#[test]
fn the_faster_address_wins_and_small_differences_do_not_flap() {
    let now = Instant::now();
    let path = |kind, rtt| {
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        CandidatePath::expected(PathKind::Direct(kind), address.into(), rtt, now)
    };
    let (slow, fast) = (path(CandidateKind::Lan, 30.0), path(CandidateKind::Mapped, 10.0));
    assert!(is_better(&fast, &slow) && !is_better(&slow, &fast));
    let (lan, mapped) = (path(CandidateKind::Lan, 3.0), path(CandidateKind::Mapped, 1.0));
    assert!(is_better(&lan, &mapped) && !is_better(&mapped, &lan));
}

#[test]
fn a_peer_that_names_ever_new_addresses_has_few_of_them_probed() {
    let mut net = net(false);
    let mut probed = BTreeSet::new();
    for round in 0..1000_u32 {
        let named: Vec<Candidate> = (0..MAX_CANDIDATES as u32)
            .map(|n| Candidate {
                kind: CandidateKind::Mapped,
                address: SocketAddr::from(((0x0800_0000 + round * 64 + n).to_be_bytes(), 53)),
            })
            .collect();
        let side = &mut net.sides[0];
        side.paths.handle_candidates(&named, net.now);
        side.paths
            .handle_timeout(&mut Net::cx(&mut side.rng, net.now, net.start));
        probed.extend(std::iter::from_fn(|| side.paths.poll_transmit()).map(|datagram| datagram.peer));
        net.now += Duration::from_millis(10);
    }
    assert!(probed.len() <= MAX_NEW_ADDRESSES, "{} addresses in 10 s", probed.len());

    net.now += NEW_ADDRESSES_SPAN;
    net.introduce();
    assert_eq!(
        net.sides[0].paths.poll_timeout(net.now).map(|(at, _)| at),
        Some(net.now),
        "probes go on"
    );
}

#[test]
fn packets_flow_over_the_relay_at_once_and_then_directly() {
    let mut net = net(true);
    net.relay(Duration::from_millis(15));
    assert!(net.connected(), "before anything was asked");
    assert!(!net.is_direct());
    net.introduce();
    assert!(net.run_until(net.after(250), Net::is_direct));
}

#[test]
fn of_two_relays_a_loaded_one_is_left_for_one_that_is_a_little_farther() {
    let now = Instant::now();
    let mut paths = PeerPaths::new(probe_keys(0, 3));
    let route = |relay| Route::Relay {
        relay: RelayNumber(relay),
        member: MemberId(2),
    };
    let mut in_use = |load_ms| {
        let relays = [through(route(0), 20.0, load_ms), through(route(1), 40.0, 0.0)];
        paths.handle_relays(&relays, now);
        paths.selected().map(|path| path.route)
    };
    assert_eq!(in_use(0.0), Some(route(0)));
    assert_eq!(in_use(15.0), Some(route(0)));
    assert_eq!(in_use(500.0), Some(route(1)));
}

#[test]
fn a_relay_stays_in_use_where_nothing_else_works() {
    let mut net = net(false);
    net.cut = true;
    net.relay(Duration::from_millis(15));
    net.introduce();
    net.play(Duration::from_secs(60), |net| assert!(net.connected()));
    let path = net.sides[0].paths.selected().unwrap();
    assert_eq!(path.kind, PathKind::Relay);
    assert!((path.rtt_ms.unwrap() - 30.0).abs() < 1.0);
    assert_eq!(path.quality.unwrap().loss_percent, 0.0);
}

#[test]
fn when_the_direct_path_dies_in_one_direction_or_both_packets_arrive_again_within_two_seconds() {
    for (cut, deaf) in [(true, [false; 2]), (false, [true, false]), (false, [false, true])] {
        let mut net = net(false);
        net.relay(Duration::from_millis(15));
        net.introduce();
        net.play(Duration::from_secs(10), |_| ());
        assert!(net.is_direct());
        (net.cut, net.deaf) = (cut, deaf);
        let broken = net.now;
        net.play(Duration::from_secs(20), |net| {
            if net.now > broken + Duration::from_millis(1800) {
                assert!(
                    net.delivers(0) && net.delivers(1),
                    "{:?} after the cut",
                    net.now - broken
                );
            }
        });
        (net.cut, net.deaf) = (false, [false; 2]);
        net.introduce();
        net.play(Duration::from_secs(5), |net| {
            assert!(net.delivers(0) && net.delivers(1))
        });
        assert!(net.is_direct());
    }
}

#[test]
fn a_spare_that_is_dead_too_does_not_take_the_place_of_one_that_answers() {
    for relay in [None, Some(Duration::from_millis(15))] {
        let mut net = net(false);
        relay.into_iter().for_each(|delay| net.relay(delay));
        net.introduce();
        net.play(Duration::from_secs(10), |_| ());
        for port in 3000..3004 {
            net.sides[1].address.set_port(port);
            let changed = net.now;
            net.play(Duration::from_millis(2500), |net| {
                if net.now > changed + Duration::from_millis(1800) {
                    assert!(net.delivers(0) && net.delivers(1), "after change {port}");
                }
            });
        }
    }
}

#[test]
fn a_relay_that_ends_or_does_not_know_the_peer_is_left_at_once() {
    let mut net = net(false);
    net.relay(Duration::from_millis(15));
    net.sides[0].paths.handle_relay_lost(RelayNumber(0), net.now);
    assert_eq!(net.sides[0].paths.selected(), None);

    net.relay(Duration::from_millis(15));
    assert!(net.connected());
    let now = net.now;
    net.sides[1].paths.handle_undelivered(RelayNumber(0), now);
    assert_eq!(net.sides[1].paths.selected(), None);
    assert!(
        net.run_until(net.after(1000), Net::connected),
        "a probe through it brings it back"
    );
}

#[test]
fn nothing_is_sent_without_end_while_a_path_is_in_doubt_and_there_is_no_other() {
    let mut net = net(false);
    net.introduce();
    net.play(Duration::from_secs(5), |_| ());
    net.cut = true;
    net.sent = 0;
    net.play(Duration::from_secs(4), |_| ());
    assert!(net.sent < 80, "{} probes", net.sent);
}

#[test]
fn a_new_party_secret_interrupts_nothing_whenever_the_peer_hears_of_it() {
    for late in [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(90)] {
        let mut net = net(true);
        net.introduce();
        net.play(Duration::from_secs(5), |_| ());
        assert!(net.is_direct());
        net.sides[0].paths.rekey(probe_keys(0, 4));
        net.play(late, |net| assert!(net.is_direct()));
        net.sides[1].paths.rekey(probe_keys(1, 4));
        net.play(Duration::from_secs(5), |net| assert!(net.is_direct()));
        assert!(net.sides.iter().all(|side| side.paths.is_rekeyed()), "{late:?} late");
    }
}

#[test]
fn two_new_secrets_in_a_row_are_survived_too() {
    let mut net = net(true);
    net.introduce();
    net.play(Duration::from_secs(5), |_| ());
    for secret in [4, 5] {
        net.sides[0].paths.rekey(probe_keys(0, secret));
    }
    net.play(Duration::from_secs(5), |net| assert!(net.is_direct()));
    net.sides[1].paths.rekey(probe_keys(1, 4));
    net.play(Duration::from_secs(1), |_| ());
    net.sides[1].paths.rekey(probe_keys(1, 5));
    net.play(Duration::from_secs(5), |net| assert!(net.is_direct()));
    assert!(net.sides.iter().all(|side| side.paths.is_rekeyed()));
}

/// The pause between side 0's keepalives, and what they have cost.
fn kept(net: &Net) -> (Duration, KeepaliveCounts) {
    let (pause, counts) = net.sides[0].paths.keepalive();
    let mut sum = KeepaliveCounts::default();
    counts.values().for_each(|counts| sum.add(counts));
    (pause, sum)
}

#[test]
fn keepalives_follow_the_nat_and_a_lost_mapping() {
    let mut net = net(true);
    net.introduce();
    assert!(net.run_until(net.after(1000), Net::connected));
    net.run_until(net.after(600_000), |_| false);
    let before = kept(&net);
    assert!(before.0 > Duration::from_secs(30), "it has grown: {before:?}");
    assert!((10..=30).contains(&before.1.sent), "{before:?}");
    assert_eq!(before.1.lost, 0);

    net.cut = true;
    assert!(net.run_until(net.after(120_000), |net| net.sides[0].paths.selected().is_none()));
    net.cut = false;
    assert!(net.run_until(net.after(2000), Net::connected));
    let after = kept(&net);
    assert_eq!((after.0, after.1.lost), (Duration::from_secs(5), 1));
}

#[test]
fn a_peer_seen_at_ever_more_addresses_is_not_chased_to_all_of_them() {
    let mut net = net(false);
    let mut chased = BTreeSet::new();
    for port in 1..=1000 {
        let from = SocketAddr::from(([198, 51, 100, 9], port));
        let [asked, asking] = &mut net.sides;
        let mut cx = Net::cx(&mut asking.rng, net.now, net.start);
        asking
            .paths
            .transmit(ProbeKind::Ping, asked.address.into(), 1, Generation::New, &mut cx);
        let ping = asking.paths.poll_transmit().unwrap();
        let mut cx = Net::cx(&mut asked.rng, net.now, net.start);
        assert!(asked.paths.handle_probe(from.into(), &ping.data, &mut cx));
        asked.paths.handle_timeout(&mut cx);
        while let Some(sent) = asked.paths.poll_transmit() {
            if Probe::open(&sent.data, &asking.paths.keys.receive).unwrap().kind == ProbeKind::Ping {
                chased.insert(sent.peer);
            }
        }
        net.now = net.after(120);
    }
    assert!((1..=MAX_OBSERVED_IN_VAIN).contains(&chased.len()), "{}", chased.len());
}

#[test]
fn a_lossy_path_a_new_one_and_a_relay_are_not_chosen_in_a_circle() {
    let mut net = net(false);
    let start = net.now;
    let addresses: [SocketAddr; 2] = ["203.0.113.2:2000", "203.0.113.2:2001"].map(|text| text.parse().unwrap());
    let path = |route: Route, kind, rtt_ms: u64, probes: u64, lossy: bool| {
        let mut path = candidate::CandidatePath::new(kind, route, start);
        for probe in 0..probes {
            let at = start + Duration::from_secs(probe * 4);
            path.sent(probe, at);
            if !lossy || probe % 2 == 1 {
                assert!(path.answered(probe, at + Duration::from_millis(rtt_ms)));
            }
        }
        path
    };
    let direct = PathKind::Direct(CandidateKind::Observed);
    let paths = &mut net.sides[0].paths.paths;
    paths.insert(addresses[0].into(), path(addresses[0].into(), direct, 50, 40, true));
    paths.insert(relay_to(1), path(relay_to(1), PathKind::Relay, 80, 40, false));
    let mut new = path(addresses[1].into(), direct, 60, 0, false);
    let now = start + Duration::from_secs(160);
    new.sent(0, now);
    assert!(new.answered(0, now + Duration::from_millis(60)));
    net.sides[0].paths.paths.insert(addresses[1].into(), new);
    let chosen: Vec<_> = (0..6)
        .map(|_| {
            net.sides[0].paths.select(now + Duration::from_millis(100));
            net.sides[0].paths.selected().unwrap().route
        })
        .collect();
    assert!(chosen[2..].iter().all(|route| *route == chosen[2]), "{chosen:?}");
}
