//! Two engines, a control server that passes signals on, and the network between them, in virtual time.

use bytes::BytesMut;
use lanrage_shared::api::presence::Filtering;
use lanrage_shared::ids::{DeviceId, IdentityKey, PartyId};

use super::*;

struct World {
    engines: Vec<Engine>,
    addresses: Vec<SocketAddr>,
    now: Instant,
    start: Instant,
    wire: Vec<(Instant, usize, Datagram)>,
    mail: Vec<(Instant, usize, MemberId, String)>,
    paths: Vec<BTreeMap<MemberId, SocketAddr>>,
    server_up: bool,
    /// Every place a datagram was sent to.
    destinations: Vec<SocketAddr>,
}

const DELAY: Duration = Duration::from_millis(10);

fn member(number: u16) -> Member {
    let net = net();
    let identity_key = IdentityKey([number as u8; 32]);
    Member {
        id: MemberId(number),
        device: DeviceId::of(&identity_key),
        identity_key,
        device_key: DeviceSecret::from_bytes([number as u8; 32]).public(),
        name: format!("member {number}").parse().unwrap(),
        virtual_ip: net.member_v4(MemberId(number)),
        virtual_ip6: net.member_v6(MemberId(number)),
        joined_at_ms: 0,
        online: true,
        last_seen_ms: 0,
        presence: None,
    }
}

fn net() -> PartyNet {
    PartyNet::at(1, party_id())
}

fn party_id() -> PartyId {
    "00000000-0000-0000-0000-000000000000".parse().unwrap()
}

fn world(count: u16) -> World {
    let start = Instant::now();
    let party = Party {
        id: party_id(),
        name: "party".parse().unwrap(),
        host: MemberId(1),
        epoch: 1,
        secret_epoch: 1,
        version: 1,
        persistent: false,
        max_members: 64,
        net: net(),
        created_at_ms: 0,
        members: (1..=count).map(member).collect(),
    };
    let addresses: Vec<SocketAddr> = (1..=count)
        .map(|n| SocketAddr::from(([192, 168, 7, n as u8], 4000 + n)))
        .collect();
    let engines = (1..=count).map(|n| engine(n, &party, &addresses, start)).collect();
    World {
        engines,
        addresses,
        now: start,
        start,
        wire: vec![],
        mail: vec![],
        paths: vec![BTreeMap::new(); usize::from(count)],
        server_up: true,
        destinations: vec![],
    }
}

fn engine(number: u16, party: &Party, addresses: &[SocketAddr], now: Instant) -> Engine {
    let config = Config {
        me: MemberId(number),
        device: DeviceSecret::from_bytes([number as u8; 32]),
        secret: PartySecret::from_bytes([9; 32]),
        party: party.clone(),
        clock: PartyClock::new(now, 1_700_000_000_000),
        seed: [number as u8; 32],
        agent_version: "test".into(),
    };
    let mut engine = Engine::new(config, now);
    engine.handle_interfaces(vec![addresses[usize::from(number) - 1]], now);
    engine
}

impl World {
    fn set_server(&mut self, up: bool) {
        self.server_up = up;
        for engine in &mut self.engines {
            engine.handle_server(up, self.now);
        }
    }

    fn carry(&mut self, i: usize) {
        while let Some(event) = self.engines[i].poll_event() {
            match event {
                Event::Signal { to, sealed } if self.server_up => {
                    self.mail
                        .push((self.now + DELAY, usize::from(to.0) - 1, MemberId(i as u16 + 1), sealed));
                }
                Event::Path {
                    member,
                    address: Some(address),
                } => {
                    self.paths[i].insert(member, address);
                }
                Event::Path { member, address: None } => {
                    self.paths[i].remove(&member);
                }
                _ => {}
            }
        }
        while let Some((_, datagram)) = self.engines[i].poll_transmit() {
            self.destinations.push(datagram.peer);
            if let Some(to) = self.addresses.iter().position(|address| *address == datagram.peer) {
                let arriving = Datagram {
                    peer: self.addresses[i],
                    data: datagram.data,
                };
                self.wire.push((self.now + DELAY, to, arriving));
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        loop {
            for i in 0..self.engines.len() {
                self.engines[i].handle_timeout(self.now);
                self.carry(i);
            }
            let timers = self
                .engines
                .iter()
                .filter_map(|engine| engine.poll_timeout(self.now))
                .map(|(at, _)| at);
            let arrivals = self
                .wire
                .iter()
                .map(|(at, ..)| *at)
                .chain(self.mail.iter().map(|(at, ..)| *at));
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= end) else {
                break;
            };
            steps = if next <= self.now { steps + 1 } else { 0 };
            assert!(steps < 1000, "the engines never come to rest");
            self.now = self.now.max(next);
            let now = self.now;
            for (_, to, datagram) in self.wire.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.engines[to].handle_datagram(&datagram, now);
            }
            for (_, to, from, sealed) in self.mail.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.engines[to].handle_signal(from, &sealed, now);
            }
        }
        self.now = end;
    }

    fn everybody_is_connected(&self) -> bool {
        self.paths.iter().all(|paths| paths.len() == self.engines.len() - 1)
    }
}

#[test]
fn members_that_come_online_find_each_other_within_a_second() {
    let mut world = world(5);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    assert!(world.everybody_is_connected(), "{:?}", world.paths);
}

#[test]
fn paths_outlive_the_control_server() {
    let mut world = world(3);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    world.set_server(false);
    world.run_for(Duration::from_secs(120));
    assert!(world.everybody_is_connected());
}

#[test]
fn a_restarted_agent_comes_back_from_memory_while_the_server_is_away() {
    let mut world = world(2);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    let remembered = world.engines[0].proven_addresses();
    world.set_server(false);
    let party = Party {
        members: vec![member(1), member(2)],
        ..world_party()
    };
    world.now += Duration::from_secs(1);
    world.engines[0] = engine(1, &party, &world.addresses.clone(), world.start);
    world.paths[0].clear();
    let now = world.now;
    for (peer, addresses) in remembered {
        world.engines[0].handle_remembered(peer, &addresses, now);
    }
    world.run_for(Duration::from_secs(2));
    assert!(world.everybody_is_connected());
}

fn world_party() -> Party {
    Party {
        id: party_id(),
        name: "party".parse().unwrap(),
        host: MemberId(1),
        epoch: 1,
        secret_epoch: 1,
        version: 1,
        persistent: false,
        max_members: 64,
        net: net(),
        created_at_ms: 0,
        members: vec![],
    }
}

#[test]
fn a_device_the_server_slips_in_gets_no_answer_and_sends_nobody_anywhere() {
    let mut world = world(2);
    world.engines[1].secret = PartySecret::from_bytes([0; 32]);
    let members = [member(1), member(2)];
    world.engines[1].handle_left(MemberId(1));
    let now = world.now;
    world.engines[1].handle_members(&members, now);
    world.set_server(true);
    world.run_for(Duration::from_secs(5));
    assert!(world.paths[0].is_empty() && world.paths[1].is_empty());
    assert!(
        !world.destinations.contains(&world.addresses[1]),
        "nothing is sent to addresses an outsider named"
    );
}

#[test]
fn a_member_that_left_loses_its_path_and_its_probes_are_ignored() {
    let mut world = world(3);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    world.engines[0].handle_left(MemberId(2));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.engines[0].peers().count(), 1);
    assert!(!world.engines[0].handle_datagram(
        &Datagram {
            peer: world.addresses[1],
            data: BytesMut::from(&[0xF5, b'L', b'R', 1, 0, 0, 0, 0][..])
        },
        world.now
    ));
}

#[test]
fn an_unreachable_peer_is_explained() {
    let mut world = world(2);
    let now = world.now;
    world.engines[0].handle_server(true, now);
    let view = world.engines[0].peers().next().unwrap();
    assert!(view.reason.is_some());
    let nat = NatSummary {
        mapping: Mapping::Blocked,
        filtering: Filtering::Unknown,
        port_mapping: false,
    };
    let presence = Presence {
        nat,
        relays: vec![],
        agent_version: "test".into(),
    };
    world.engines[0].handle_presence(MemberId(2), true, Some(&presence), now);
    let reason = world.engines[0].peers().next().unwrap().reason.unwrap();
    assert!(reason.contains("member 2's network lets no UDP through"), "{reason}");
}

#[test]
fn a_peer_nobody_reaches_is_explained_after_one_attempt_and_not_only_between_attempts() {
    let mut world = world(2);
    let now = world.now;
    let reachable = NatSummary {
        mapping: Mapping::EndpointIndependent,
        filtering: Filtering::EndpointIndependent,
        port_mapping: false,
    };
    let presence = Presence {
        nat: reachable,
        relays: vec![],
        agent_version: "test".into(),
    };
    let candidate = Candidate {
        kind: CandidateKind::Mapped,
        address: "203.0.113.9:4000".parse().unwrap(),
    };
    let stun = StunEndpoint {
        address: "203.0.113.10:3478".parse().unwrap(),
        second_port: 3479,
    };
    let engine = &mut world.engines[0];
    engine.handle_server(true, now);
    engine.handle_presence(MemberId(2), true, Some(&presence), now);
    let reason_after = |engine: &mut Engine, since_start: Duration| {
        // As when signals go back and forth: every one names the addresses again.
        engine.handle_stun_servers(vec![stun], now + since_start);
        engine.try_addresses(MemberId(2), vec![candidate], now + since_start);
        engine.handle_timeout(now + since_start);
        engine.peers().next().unwrap().reason.unwrap()
    };
    assert!(reason_after(engine, Duration::ZERO).contains("connecting"));
    assert!(reason_after(engine, Duration::from_secs(9)).contains("connecting"));
    let reason = reason_after(engine, Duration::from_secs(10));
    assert!(reason.contains("none of member 2's addresses answers"), "{reason}");

    let away = now + Duration::from_secs(20);
    engine.handle_presence(MemberId(2), false, None, away);
    engine.handle_presence(MemberId(2), true, Some(&presence), away);
    assert!(reason_after(engine, Duration::from_secs(21)).contains("connecting"));
}
