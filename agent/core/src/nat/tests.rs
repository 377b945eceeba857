//! The discovery against the relay's responder, through a modelled NAT, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanrage_relay_core::stun::{Listen, LocalPort, Received, Responder, Verdict};
use lanrage_shared::api::presence::{Filtering, Mapping};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::model::NatModel;
use super::{Discovery, Event, NatReport, Socket, StunEndpoint};

const DELAY: Duration = Duration::from_millis(20);
const ROUND_TRIP: Duration = Duration::from_millis(40);
const PORTS: [u16; 2] = [3478, 3479];
const HOST: &str = "192.168.1.20:40000";
const HOST6: &str = "[2001:db8:1::20]:40000";
const NAT_LIFETIME: Duration = Duration::from_secs(120);
const MAPPINGS: [Mapping; 4] = [
    Mapping::None,
    Mapping::EndpointIndependent,
    Mapping::AddressDependent,
    Mapping::AddressAndPortDependent,
];
const FILTERINGS: [Filtering; 3] = [
    Filtering::EndpointIndependent,
    Filtering::AddressDependent,
    Filtering::AddressAndPortDependent,
];

/// Both directions of the internet between one PC behind one NAT and the STUN servers.
struct Net {
    now: Instant,
    start: Instant,
    discovery: Discovery,
    nat: NatModel,
    servers: Vec<Responder>,
    /// (when, sequence) → (from, to, bytes); `to` inside means towards the PC.
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
    chance: StdRng,
    loss: f64,
    sent: usize,
    events: Vec<(Duration, Event)>,
}

fn server(addresses: &[&str]) -> Responder {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Responder::new(Listen::new(addresses, PORTS).unwrap())
}

fn endpoint(address: &str) -> StunEndpoint {
    StunEndpoint {
        address: SocketAddr::new(address.parse().unwrap(), PORTS[0]),
        second_port: PORTS[1],
    }
}

fn nat(mapping: Mapping, filtering: Filtering) -> NatModel {
    NatModel::new(mapping, filtering, "198.51.100.7".parse().unwrap(), NAT_LIFETIME)
}

fn own() -> Vec<SocketAddr> {
    vec![HOST.parse().unwrap(), HOST6.parse().unwrap()]
}

impl Net {
    fn new(nat: NatModel, servers: Vec<Responder>, known: &[&str], seed: u64, loss: f64) -> Self {
        let start = Instant::now();
        let known = known.iter().map(|address| endpoint(address)).collect();
        Self {
            now: start,
            start,
            discovery: Discovery::new(known, own(), [u8::try_from(seed % 251).unwrap(); 32], start),
            nat,
            servers,
            flying: BTreeMap::new(),
            sequence: 0,
            chance: StdRng::seed_from_u64(seed),
            loss,
            sent: 0,
            events: Vec::new(),
        }
    }

    /// The usual case: one server with two addresses.
    fn with_two_addresses(nat: NatModel, seed: u64, loss: f64) -> Self {
        let servers = vec![server(&["203.0.113.10", "203.0.113.11"])];
        Self::new(nat, servers, &["203.0.113.10"], seed, loss)
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        if !self.chance.random_bool(self.loss) {
            self.sequence += 1;
            self.flying.insert((self.now + DELAY, self.sequence), (from, to, bytes));
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.discovery.poll_transmit() {
            let host = if transmit.to.is_ipv4() { HOST } else { HOST6 };
            let mut host: SocketAddr = host.parse().unwrap();
            if let Socket::Side(number) = transmit.from {
                host.set_port(50_000 + u16::try_from(number).unwrap());
            }
            if let Some(public) = self.nat.outbound(host, transmit.to, self.now) {
                self.fly(public, transmit.to, transmit.bytes);
            }
        }
        while let Some(event) = self.discovery.poll_event() {
            self.events.push((self.now - self.start, event));
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        for index in 0..self.servers.len() {
            let listen = self.servers[index].listen().clone();
            let address = listen.addresses().iter().position(|address| *address == to.ip());
            let port = PORTS.iter().position(|port| *port == to.port());
            let (Some(address), Some(port)) = (address, port) else {
                continue;
            };
            let received = Received {
                from,
                on: LocalPort { address, port },
                to: Some(to.ip()),
            };
            if let Verdict::Reply { bytes, send_from } = self.servers[index].handle(&bytes, received) {
                self.fly(listen.socket_address(send_from).unwrap(), from, bytes);
            }
            return;
        }
        if self.nat.inbound(from, to, self.now).is_some() {
            self.discovery.handle_datagram(from, &bytes, self.now);
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        loop {
            let arrival = self.flying.keys().next().copied();
            let timeout = self.discovery.poll_timeout().map(|(at, _)| at);
            let Some(next) = arrival
                .map(|(at, _)| at)
                .into_iter()
                .chain(timeout)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            match arrival {
                Some(key) if key.0 <= next => {
                    let (from, to, bytes) = self.flying.remove(&key).unwrap();
                    self.deliver(from, to, bytes);
                }
                _ => self.discovery.handle_timeout(self.now),
            }
            self.drain();
        }
        self.now = end;
    }

    fn reports(&self) -> Vec<(Duration, NatReport)> {
        let reports = self.events.iter().filter_map(|(at, event)| match event {
            Event::Report(report) => Some((*at, *report)),
            Event::Mapped(_) => None,
        });
        reports.collect()
    }

    fn report(&self) -> NatReport {
        self.discovery.report().expect("there is a report")
    }

    fn kind(&self) -> (Mapping, Filtering) {
        (self.report().mapping, self.report().filtering)
    }
}

fn every_kind() -> impl Iterator<Item = (Mapping, Filtering)> {
    MAPPINGS
        .into_iter()
        .flat_map(|mapping| FILTERINGS.map(|filtering| (mapping, filtering)))
}

#[test]
fn every_kind_of_nat_is_recognised() {
    for (mapping, filtering) in every_kind() {
        let mut net = Net::with_two_addresses(nat(mapping, filtering), 1, 0.0);
        net.run_for(Duration::from_secs(10));
        assert_eq!(net.kind(), (mapping, filtering));
        assert!(
            matches!(net.events[0], (ROUND_TRIP, Event::Mapped(_))),
            "{:?}",
            net.events
        );
        let reports = net.reports();
        assert_eq!(reports.len(), 1, "nothing is taken back: {reports:?}");
        assert!(
            reports[0].0 <= Duration::from_millis(1500),
            "{mapping} {filtering}: {:?}",
            reports[0].0
        );
        assert!(net.sent < 120, "{mapping} {filtering}: {} packets", net.sent);
    }
}

#[test]
fn what_an_earlier_run_left_open_in_the_nat_is_not_taken_for_the_lack_of_a_filter() {
    for (mapping, filtering) in every_kind() {
        let mut net = Net::with_two_addresses(nat(mapping, filtering), 1, 0.0);
        for to in [
            "203.0.113.10:3478",
            "203.0.113.10:3479",
            "203.0.113.11:3478",
            "203.0.113.11:3479",
        ] {
            net.nat.outbound(HOST.parse().unwrap(), to.parse().unwrap(), net.now);
        }
        net.run_for(Duration::from_secs(10));
        assert_eq!(net.kind(), (mapping, filtering));
    }
}

#[test]
fn a_fifth_of_all_packets_lost_makes_it_slower_but_not_wrong() {
    let mut unknown = 0;
    for (mapping, filtering) in every_kind() {
        for seed in 0..40 {
            let mut net = Net::with_two_addresses(nat(mapping, filtering), seed, 0.2);
            net.run_for(Duration::from_secs(15));
            for (_, report) in net.reports() {
                assert_eq!(report.mapping, mapping, "seed {seed}");
                unknown += usize::from(report.filtering == Filtering::Unknown);
                let right = [filtering, Filtering::Unknown].contains(&report.filtering);
                assert!(right, "{mapping} {filtering} seed {seed}: {}", report.filtering);
            }
            assert!(!net.reports().is_empty(), "{mapping} {filtering} seed {seed}");
        }
    }
    assert!(unknown <= 5, "{unknown} of 480 could not be measured");
}

#[test]
fn blocked_udp_is_said_after_three_seconds_and_noticed_when_it_ends() {
    let mut net = Net::with_two_addresses(nat(Mapping::Blocked, Filtering::Unknown), 1, 0.0);
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.kind(), (Mapping::Blocked, Filtering::Unknown));
    assert_eq!(net.reports()[0].0, Duration::from_secs(3));
    assert_eq!(net.report().public_address, None);
    net.nat = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);
    net.run_for(Duration::from_secs(30));
    assert_eq!(
        net.kind(),
        (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent)
    );
    net.nat = nat(Mapping::Blocked, Filtering::Unknown);
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.kind(), (Mapping::Blocked, Filtering::Unknown));
}

#[test]
fn loss_alone_never_looks_like_blocked_udp() {
    for seed in 0..200 {
        let kind = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);
        let mut net = Net::with_two_addresses(kind, seed, 0.2);
        net.run_for(Duration::from_secs(3));
        assert!(
            net.reports()
                .iter()
                .all(|(_, report)| report.mapping != Mapping::Blocked),
            "seed {seed}"
        );
    }
}

#[test]
fn one_address_promises_no_more_than_it_can_tell() {
    for (mapping, filtering) in every_kind() {
        let servers = vec![server(&["203.0.113.10"])];
        let mut net = Net::new(nat(mapping, filtering), servers, &["203.0.113.10"], 1, 0.0);
        net.run_for(Duration::from_secs(10));
        let mapping = match mapping {
            Mapping::AddressDependent => Mapping::EndpointIndependent,
            other => other,
        };
        let filtering = match filtering {
            Filtering::EndpointIndependent => Filtering::AddressDependent,
            other => other,
        };
        assert_eq!(net.kind(), (mapping, filtering));
    }
}

#[test]
fn two_servers_of_one_address_tell_every_mapping() {
    for (mapping, filtering) in every_kind() {
        let servers = vec![server(&["203.0.113.10"]), server(&["203.0.113.99"])];
        let known = ["203.0.113.10", "203.0.113.99"];
        let mut net = Net::new(nat(mapping, filtering), servers, &known, 1, 0.0);
        net.run_for(Duration::from_secs(10));
        assert_eq!(net.report().mapping, mapping);
    }
}

#[test]
fn a_second_server_that_is_the_firsts_other_address_does_not_spoil_the_test() {
    for (mapping, filtering) in every_kind() {
        let servers = vec![server(&["203.0.113.10", "203.0.113.11"])];
        let known = ["203.0.113.10", "203.0.113.11"];
        let mut net = Net::new(nat(mapping, filtering), servers, &known, 1, 0.0);
        net.run_for(Duration::from_secs(10));
        assert_eq!(net.kind(), (mapping, filtering));
    }
}

#[test]
fn a_dead_first_server_costs_a_quarter_of_a_second() {
    let kind = (Mapping::EndpointIndependent, Filtering::AddressDependent);
    let servers = vec![server(&["203.0.113.20", "203.0.113.21"])];
    let mut net = Net::new(nat(kind.0, kind.1), servers, &["203.0.113.10", "203.0.113.20"], 1, 0.0);
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.events[0].0, Duration::from_millis(250) + ROUND_TRIP);
    assert_eq!(net.kind(), kind);
}

#[test]
fn an_other_address_nobody_reaches_is_not_taken_for_a_filter() {
    let kind = (Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    let mut net = Net::with_two_addresses(nat(kind.0, kind.1), 1, 0.0);
    let end = net.now + Duration::from_secs(10);
    while net.now < end {
        net.run_for(Duration::from_millis(1));
        let alternate: IpAddr = "203.0.113.11".parse().unwrap();
        net.flying
            .retain(|_, (from, to, _)| from.ip() != alternate && to.ip() != alternate);
    }
    assert_eq!(net.kind(), (Mapping::EndpointIndependent, Filtering::AddressDependent));
}

#[test]
fn a_changed_public_address_is_noticed_and_nothing_else_is() {
    let kind = (Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    let mut net = Net::with_two_addresses(nat(kind.0, kind.1), 1, 0.0);
    net.run_for(Duration::from_secs(90));
    assert_eq!(net.events.len(), 2, "quiet while nothing changes: {:?}", net.events);
    net.nat = NatModel::new(kind.0, kind.1, "198.51.100.99".parse().unwrap(), NAT_LIFETIME);
    net.run_for(Duration::from_secs(40));
    let public = net.report().public_address.unwrap();
    assert_eq!(public.ip(), "198.51.100.99".parse::<IpAddr>().unwrap());
    assert!(matches!(net.events[2].1, Event::Mapped(address) if address == public));
    assert!(matches!(net.events[3].1, Event::Report(report) if report.public_address == Some(public)));
    assert_eq!(net.events.len(), 4);
    assert_eq!(net.kind(), kind);
}

#[test]
fn a_lost_path_has_the_public_address_looked_at_at_once() {
    let kind = (Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    let mut net = Net::with_two_addresses(nat(kind.0, kind.1), 1, 0.0);
    net.run_for(Duration::from_secs(30));
    net.nat.forget();
    let now = net.now;
    net.discovery.handle_doubt(now);
    net.run_for(ROUND_TRIP * 2);
    let before = net.events[1].1;
    assert!(
        matches!(net.events[2].1, Event::Mapped(_)),
        "{before:?} {:?}",
        net.events
    );
}

#[test]
fn a_change_of_networks_is_measured_anew() {
    let mut net = Net::with_two_addresses(
        nat(Mapping::EndpointIndependent, Filtering::EndpointIndependent),
        1,
        0.0,
    );
    net.run_for(Duration::from_secs(10));
    let kind = (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent);
    net.nat = NatModel::new(kind.0, kind.1, "198.51.100.99".parse().unwrap(), NAT_LIFETIME);
    let now = net.now;
    net.discovery
        .handle_network_change(vec!["10.0.0.5:40000".parse().unwrap()], now);
    net.run_for(ROUND_TRIP);
    assert!(
        matches!(net.events[2].1, Event::Mapped(_)),
        "the address is known after a round trip"
    );
    net.run_for(Duration::from_secs(5));
    assert_eq!(net.kind(), kind);
}

#[test]
fn another_network_of_the_same_kind_has_its_address_reported() {
    let kind = (Mapping::EndpointIndependent, Filtering::AddressDependent);
    let mut net = Net::with_two_addresses(nat(kind.0, kind.1), 1, 0.0);
    net.run_for(Duration::from_secs(10));
    net.nat = NatModel::new(kind.0, kind.1, "198.51.100.99".parse().unwrap(), NAT_LIFETIME);
    let now = net.now;
    net.discovery
        .handle_network_change(vec!["10.0.0.5:40000".parse().unwrap()], now);
    net.run_for(Duration::from_secs(5));
    let reports = net.reports();
    let public = reports.last().unwrap().1.public_address.unwrap();
    assert_eq!(public.ip().to_string(), "198.51.100.99", "{reports:?}");
}

#[test]
fn waking_up_on_the_same_network_changes_nothing() {
    for (mapping, filtering) in every_kind() {
        let mut net = Net::with_two_addresses(nat(mapping, filtering), 1, 0.0);
        net.run_for(Duration::from_secs(10));
        let (now, events) = (net.now, net.events.len());
        net.discovery.handle_network_change(own(), now);
        net.run_for(Duration::from_secs(10));
        assert_eq!(net.events.len(), events, "{:?}", net.events);
        assert_eq!(net.kind(), (mapping, filtering));
    }
}

#[test]
fn ipv4_and_ipv6_are_kept_apart() {
    let servers = vec![server(&[
        "203.0.113.10",
        "203.0.113.11",
        "2001:db8::10",
        "2001:db8::11",
    ])];
    let kind = (Mapping::None, Filtering::AddressDependent);
    let known = ["203.0.113.10", "2001:db8::10"];
    let mut net = Net::new(nat(kind.0, kind.1), servers, &known, 1, 0.0);
    net.run_for(Duration::from_secs(10));
    let report = net.report();
    assert_eq!(report.public_address, Some(HOST.parse().unwrap()));
    assert_eq!(report.public_address6, Some(HOST6.parse().unwrap()));
    assert_eq!((report.mapping, report.filtering), kind);
}

#[test]
fn where_only_ipv6_works_it_is_what_is_reported() {
    let servers = vec![server(&["2001:db8::10", "2001:db8::11"])];
    let kind = (Mapping::None, Filtering::AddressAndPortDependent);
    let mut net = Net::new(nat(kind.0, kind.1), servers, &["203.0.113.10", "2001:db8::10"], 1, 0.0);
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.kind(), kind);
    assert_eq!(net.report().public_address, None);
}

#[test]
fn answers_to_nobodys_question_change_nothing() {
    let start = Instant::now();
    let mut discovery = Discovery::new(vec![endpoint("203.0.113.10")], own(), [1; 32], start);
    let asked = discovery.poll_transmit().unwrap();
    let responder = server(&["203.0.113.10"]);
    let received = Received {
        from: "198.51.100.7:1".parse().unwrap(),
        on: LocalPort { address: 0, port: 0 },
        to: None,
    };
    let Verdict::Reply { bytes, .. } = responder.handle(&asked.bytes, received) else {
        panic!("the request is answered")
    };
    let mut forged = bytes.clone();
    forged[19] ^= 1;
    assert!(
        !discovery.handle_datagram(asked.to, &forged, start),
        "another transaction id"
    );
    assert!(!discovery.handle_datagram(asked.to, &asked.bytes, start), "a request");
    let stranger = "203.0.113.66:3478".parse().unwrap();
    assert!(discovery.handle_datagram(stranger, &bytes, start));
    assert_eq!(discovery.poll_event(), None, "a right answer from the wrong place");
    assert!(discovery.handle_datagram(asked.to, &bytes, start));
    assert_eq!(discovery.poll_event(), Some(Event::Mapped(received.from)));
    assert!(
        !discovery.handle_datagram(asked.to, &bytes, start),
        "the same answer again"
    );
}

#[test]
fn without_servers_there_is_nothing_to_do() {
    let mut discovery = Discovery::new(Vec::new(), own(), [1; 32], Instant::now());
    assert_eq!(discovery.poll_timeout(), None);
    assert_eq!(discovery.poll_transmit(), None);
    assert_eq!(discovery.poll_event(), None);
}

#[test]
fn no_two_questions_share_a_transaction_id() {
    let mut net = Net::with_two_addresses(nat(Mapping::Blocked, Filtering::Unknown), 1, 0.0);
    let mut ids = BTreeSet::new();
    for _ in 0..100 {
        net.discovery.handle_timeout(net.now);
        while let Some(transmit) = net.discovery.poll_transmit() {
            assert!(ids.insert(transmit.bytes[8..20].to_vec()));
        }
        net.now += Duration::from_millis(500);
    }
}

proptest! {
    #[test]
    fn any_datagram_leaves_the_discovery_sound(
        datagrams in proptest::collection::vec((any::<SocketAddr>(), proptest::collection::vec(any::<u8>(), 0..150)), 0..20),
    ) {
        let start = Instant::now();
        let mut discovery = Discovery::new(vec![endpoint("203.0.113.10")], own(), [1; 32], start);
        for (from, bytes) in datagrams {
            prop_assert!(!discovery.handle_datagram(from, &bytes, start));
        }
        prop_assert_eq!(discovery.poll_event(), None);
        prop_assert!(discovery.poll_timeout().is_some());
    }
}
