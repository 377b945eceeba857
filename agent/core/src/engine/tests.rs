//! Two engines, a control server that passes signals on, and the network between them, in virtual time.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::BytesMut;
use lanrage_shared::api::presence::Filtering;
use lanrage_shared::ids::{DeviceId, IdentityKey, PartyId};
use lanrage_shared::signal::CandidateKind;

use super::*;
use crate::batch::RelayNumber;
use crate::cache::{ConnectionCache, STALE_MS};

mod games;
mod relays;

struct World {
    engines: Vec<Engine>,
    addresses: Vec<SocketAddr>,
    now: Instant,
    start: Instant,
    wire: Vec<(Instant, usize, Packet)>,
    mail: Vec<(Instant, usize, MemberId, String)>,
    presences: Vec<(Instant, MemberId, Presence)>,
    paths: Vec<BTreeMap<MemberId, Route>>,
    /// Pre-shared keys that replaced the first ones.
    psks: Vec<BTreeMap<MemberId, [u8; 32]>>,
    server_up: bool,
    /// Nothing gets anywhere but through a relay.
    direct_cut: bool,
    relay_up: bool,
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
        locked: false,
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
        presences: vec![],
        paths: vec![BTreeMap::new(); usize::from(count)],
        psks: vec![BTreeMap::new(); usize::from(count)],
        server_up: true,
        direct_cut: false,
        relay_up: true,
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
                Event::Signal {
                    to,
                    sealed,
                    through: Some(_),
                } => {
                    let (relay, data) = (RelayNumber(0), signal::to_datagram(&sealed));
                    self.relay(i, relay, to, data.as_slice().into());
                }
                Event::Presence(presence) if self.server_up => {
                    self.presences
                        .push((self.now + DELAY, MemberId(i as u16 + 1), presence));
                }
                Event::Signal { to, sealed, .. } if self.server_up => {
                    self.mail
                        .push((self.now + DELAY, usize::from(to.0) - 1, MemberId(i as u16 + 1), sealed));
                }
                Event::Path {
                    member,
                    path: Some(path),
                } => {
                    self.paths[i].insert(member, path.route);
                }
                Event::Rekeyed {
                    member, psk: Some(psk), ..
                } => {
                    self.psks[i].insert(member, psk);
                }
                Event::Path { member, path: None } => {
                    self.paths[i].remove(&member);
                }
                _ => {}
            }
        }
        while let Some((_, datagram)) = self.engines[i].poll_transmit() {
            let address = match datagram.peer {
                Route::Direct(address) | Route::Side { address, .. } => address,
                Route::Relay { relay, member } => {
                    self.relay(i, relay, member, datagram.data);
                    continue;
                }
            };
            self.destinations.push(address);
            let to = self.addresses.iter().position(|known| *known == address);
            if let Some(to) = to.filter(|_| !self.direct_cut) {
                let arriving = Packet {
                    peer: self.addresses[i].into(),
                    data: datagram.data,
                };
                self.wire.push((self.now + DELAY, to, arriving));
            }
        }
    }

    fn relay(&mut self, from: usize, relay: RelayNumber, to: MemberId, data: BytesMut) {
        if self.relay_up {
            let member = MemberId(from as u16 + 1);
            let arriving = Packet {
                peer: Route::Relay { relay, member },
                data,
            };
            self.wire.push((self.now + 2 * DELAY, usize::from(to.0) - 1, arriving));
        }
    }

    /// Everybody has a session with one relay.
    fn connect_relay(&mut self) {
        for engine in &mut self.engines {
            let relay = OwnRelay {
                number: RelayNumber(0),
                id: "fra-1".parse().unwrap(),
                rtt_ms: 20.0,
            };
            engine.handle_relays(vec![relay], self.now);
        }
    }

    fn all_paths_are(&self, is: impl Fn(&Route) -> bool) -> bool {
        self.everybody_is_connected() && self.paths.iter().flat_map(BTreeMap::values).all(is)
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
                .chain(self.mail.iter().map(|(at, ..)| *at))
                .chain(self.presences.iter().map(|(at, ..)| *at));
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= end) else {
                break;
            };
            steps = if next <= self.now { steps + 1 } else { 0 };
            assert!(steps < 1000, "the engines never come to rest");
            self.now = self.now.max(next);
            let now = self.now;
            for (_, to, datagram) in self.wire.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.engines[to].handle_packet(&datagram, now);
            }
            for (_, of, presence) in self.presences.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                for engine in &mut self.engines {
                    engine.handle_presence(of, true, Some(&presence), now);
                }
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

/// Whose agent the tests restart.
const RESTARTED: MemberId = MemberId(1);

impl World {
    /// The first agent ends without a word and starts again, with what it knew of the others `age_ms` ago.
    fn restart_first(&mut self, members: u16, age_ms: u64) {
        const NOW_MS: u64 = 1_700_000_000_000;
        let members: Vec<Member> = (1..=members).map(member).collect();
        let mut cache = ConnectionCache::default();
        for (peer, way) in self.engines[0].ways() {
            cache.handle_way(peer, way, NOW_MS - age_ms);
        }
        self.now += Duration::from_secs(1);
        let party = Party {
            members: members.clone(),
            ..world_party()
        };
        self.engines[0] = engine(RESTARTED.0, &party, &self.addresses, self.start);
        self.paths[0].clear();
        for peer in members {
            self.engines[0].handle_remembered(peer.id, cache.remembered(&peer, NOW_MS), self.now);
        }
    }
}

#[test]
fn a_restarted_agent_comes_back_from_memory_while_the_server_is_away() {
    let mut world = world(2);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    world.set_server(false);
    world.restart_first(2, 0);
    world.run_for(Duration::from_secs(2));
    assert!(world.everybody_is_connected());
}

#[test]
fn what_is_remembered_for_too_long_is_tried_once_the_server_turns_out_to_be_away() {
    let mut world = world(2);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    world.server_up = false;
    world.restart_first(2, STALE_MS);
    world.engines.truncate(1);
    world.destinations.clear();
    world.run_for(Duration::from_secs(30));
    assert!(world.destinations.is_empty(), "{:?}", world.destinations);

    world.engines[0].handle_server(false, world.now);
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.destinations, [world.addresses[1]]);
}

#[test]
fn a_restarted_agent_comes_back_through_the_relay_that_led_to_its_peers() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    world.connect_relay();
    world.run_for(Duration::from_secs(1));
    world.set_server(false);
    world.run_for(Duration::from_secs(1));
    world.restart_first(2, 0);
    world.engines[0].handle_server(false, world.now);
    world.connect_relay();
    world.run_for(Duration::from_secs(2));
    assert!(world.all_paths_are(|route| route.relay().is_some()));
}

#[test]
fn looking_anew_tells_and_asks_everybody_and_breaks_nothing() {
    let mut world = world(3);
    world.set_server(true);
    world.run_for(Duration::from_secs(20));
    let paths = world.paths.clone();
    world.destinations.clear();
    let now = world.now;
    world.engines[0].handle_refresh(now);
    world.engines[0].handle_timeout(now);
    world.carry(0);
    let asked: BTreeSet<SocketAddr> = world.destinations.iter().copied().collect();
    assert_eq!(asked, world.addresses[1..].iter().copied().collect());
    assert_eq!((world.mail.len(), world.presences.len()), (2, 1));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.paths, paths);
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
        locked: false,
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
    assert!(!world.engines[0].handle_packet(
        &Packet {
            peer: world.addresses[1].into(),
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
        game: None,
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
        game: None,
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
        // As when signals go back and forth: every one names the addresses again. No STUN server is given up meanwhile.
        let stun = StunEndpoint {
            second_port: 4000 + since_start.as_secs() as u16,
            ..stun
        };
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

#[test]
fn the_same_stun_servers_named_again_are_not_asked_again() {
    let mut world = world(2);
    let now = world.now;
    let stun = |address: &str| StunEndpoint {
        address: address.parse().unwrap(),
        second_port: 3479,
    };
    let engine = &mut world.engines[0];
    let asked = |engine: &mut Engine| std::iter::from_fn(|| engine.poll_transmit()).count();
    engine.handle_stun_servers(vec![stun("203.0.113.10:3478")], now);
    assert!(asked(engine) > 0);
    engine.handle_stun_servers(vec![stun("203.0.113.10:3478")], now);
    assert_eq!(asked(engine), 0);
    engine.handle_stun_servers(vec![stun("203.0.113.11:3478")], now);
    assert!(asked(engine) > 0);
}

#[test]
fn who_shares_a_relay_is_reached_through_it_and_told_why() {
    let mut world = world(3);
    world.direct_cut = true;
    world.set_server(true);
    world.connect_relay();
    world.run_for(Duration::from_millis(200));
    assert!(
        world.all_paths_are(|route| route.relay().is_some()),
        "{:?}",
        world.paths
    );
    world.run_for(Duration::from_secs(60));
    assert!(world.all_paths_are(|route| route.relay().is_some()));
    let view = world.engines[0].peers().next().unwrap();
    assert_eq!(view.relay.unwrap().as_str(), "fra-1");
    assert!(view.reason.unwrap().starts_with("relayed through fra-1"));

    world.direct_cut = false;
    world.run_for(Duration::from_secs(100));
    assert!(
        world.all_paths_are(|route| route.relay().is_none()),
        "{:?}",
        world.paths
    );
    assert_eq!(world.engines[0].peers().next().unwrap().reason, None);
}

#[test]
fn signals_take_the_relay_while_the_server_is_away() {
    let mut world = world(2);
    world.set_server(true);
    world.connect_relay();
    world.run_for(Duration::from_secs(1));
    assert!(world.all_paths_are(|route| route.relay().is_none()));
    world.set_server(false);
    world.run_for(Duration::from_secs(1));

    let moved: SocketAddr = "192.168.9.9:4001".parse().unwrap();
    world.addresses[0] = moved;
    world.engines[0].handle_interfaces(vec![moved], world.now);
    for i in 0..2 {
        world.engines[i].handle_traffic(MemberId(2 - i as u16), Some(world.now), None);
    }
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.paths[1][&MemberId(1)], moved.into());
    assert_eq!(world.paths[0][&MemberId(2)], world.addresses[1].into());
}

#[test]
fn a_relay_that_only_the_peer_uses_is_asked_for() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    let relay = OwnRelay {
        number: RelayNumber(4),
        id: "nyc-1".parse().unwrap(),
        rtt_ms: 90.0,
    };
    let now = world.now;
    world.engines[0].handle_relays(vec![relay.clone()], now);
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.engines[1].missing_relays(), ["nyc-1".parse().unwrap()]);
    let now = world.now;
    world.engines[1].handle_relays(vec![relay], now);
    assert!(world.engines[1].missing_relays().is_empty());
    world.run_for(Duration::from_millis(100));
    assert!(world.everybody_is_connected());
}

#[test]
fn a_new_party_secret_reaches_everybody_without_losing_a_path() {
    let mut world = world(3);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    assert!(world.everybody_is_connected());
    for i in [0, 2, 1] {
        world.engines[i].handle_secret(PartySecret::from_bytes([77; 32]));
        world.run_for(Duration::from_secs(20));
        assert!(world.everybody_is_connected(), "after {i}");
    }
    assert!(world.psks.iter().all(|psks| psks.len() == 2), "{:?}", world.psks);
    assert_eq!(world.psks[0][&MemberId(2)], world.psks[1][&MemberId(1)]);
}

#[test]
fn without_server_and_relay_signals_wait_and_the_engine_rests() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    world.connect_relay();
    world.run_for(Duration::from_secs(2));
    world.set_server(false);
    world.run_for(Duration::from_secs(1));
    world.relay_up = false;
    world.run_for(Duration::from_secs(120));
    assert!(world.paths.iter().all(BTreeMap::is_empty), "{:?}", world.paths);
    world.direct_cut = false;
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    assert!(world.everybody_is_connected());
}

#[test]
fn a_signal_that_only_tells_of_relays_starts_no_new_attempt() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    world.connect_relay();
    world.run_for(Duration::from_secs(60));
    let probes = |world: &World| {
        world
            .destinations
            .iter()
            .filter(|to| **to == world.addresses[0])
            .count()
    };
    let before = probes(&world);
    for rtt_ms in [40.0, 80.0, 160.0, 320.0] {
        let relay = OwnRelay {
            number: RelayNumber(0),
            id: "fra-1".parse().unwrap(),
            rtt_ms,
        };
        let now = world.now;
        world.engines[0].handle_relays(vec![relay], now);
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(probes(&world), before);
}

#[test]
fn a_pc_that_slept_past_everybodys_patience_is_back_at_once() {
    const SLEPT: Duration = Duration::from_secs(600);
    let mut world = world(2);
    world.set_server(true);
    world.run_for(Duration::from_secs(1));
    assert!(world.everybody_is_connected());
    world.set_server(false);
    // To one whose clock stood still, it is the others' that went ahead.
    let now = world.now;
    world.engines[1].handle_uncounted(SLEPT, now);
    // An idle path in a local network is asked every five minutes.
    world.run_for(Duration::from_secs(320));
    assert!(!world.everybody_is_connected(), "probes out of time are answered");

    let now = world.now;
    world.engines[0].handle_uncounted(SLEPT, now);
    world.engines[0].handle_network_change(now);
    world.run_for(Duration::from_secs(1));
    assert!(world.everybody_is_connected());
}
