//! Two members' packet paths against each other, with real tunnels.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use lanrage_shared::ids::MemberId;
use lanrage_shared::keys::DeviceSecret;
use lanrage_shared::wire::probe;

use super::*;
use crate::batch::{Datagram, Outgoing, Packet, PathInUse, RelayNumber, Route};
use crate::broadcast::{AT_ONCE, Bridge, Policy, Rejection};
use crate::ip::testing::udp;
use crate::ip::{Header, set_hop_limit};
use crate::wg::WireGuard;

struct Member {
    outbound: Outbound,
    inbound: Inbound,
    table: Arc<TableCell>,
    drops: Arc<Drops>,
    lan: Arc<Lan>,
    address: SocketAddr,
}

/// A game's.
const PORT: u16 = 27960;

fn v4(number: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 64, 0, number as u8)
}

fn v6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number)
}

/// Member `number`, with the members in `peers` reachable at 192.0.2.`peer`.
fn member(number: u16, peers: &[u16], now: Instant) -> Member {
    let secret = |number: u16| DeviceSecret::from_bytes([number as u8; 32]);
    let wireguard = Arc::new(WireGuard::new(&secret(number), 1280));
    let links = peers.iter().map(|peer| {
        let key = secret(*peer).public();
        let link = PeerLink::new(
            MemberId(*peer),
            key,
            v4(*peer),
            v6(*peer),
            wireguard.tunnel(&key, Some([7; 32])),
        );
        *link.probe_tags.lock() = vec![[b't', b'a', b'g', *peer as u8]];
        link.set_path(Some(Route::from(address(*peer)).into()));
        Arc::new(link)
    });
    let table = Table::empty(now).with_peers(v4(number), v6(number), links.collect());
    let table = Arc::new(ArcSwap::from_pointee(table));
    let drops = Arc::new(Drops::default());
    let mut policy = Policy::default();
    policy.allow(PORT..=PORT);
    let lan = Arc::new(Lan::new(Bridge::new(policy, 1280)));
    Member {
        outbound: Outbound::new(Arc::clone(&table), Arc::clone(&drops), Arc::clone(&lan)),
        inbound: Inbound::new(wireguard, Arc::clone(&table), Arc::clone(&drops), Arc::clone(&lan)),
        lan,
        table,
        drops,
        address: address(number),
    }
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number as u8], 1000))
}

fn packet(from: Ipv4Addr, to: Ipv4Addr) -> BytesMut {
    let header = [
        &[0x45, 0, 0, 25, 0, 0, 0, 0, 64, 17, 0, 0],
        from.octets().as_slice(),
        &to.octets(),
        b"hello",
    ]
    .concat();
    header.as_slice().into()
}

impl Member {
    fn send(&mut self, packet: BytesMut, now: Instant) -> Vec<Datagram> {
        let mut send = Outgoing::default();
        self.outbound.handle_packets(&mut vec![packet], &mut send, now);
        send.direct
    }

    fn link(&self, peer: u16) -> Arc<PeerLink> {
        Arc::clone(self.table.load().member(MemberId(peer)).unwrap())
    }
}

/// Hands datagrams to a member; gives its answers and the packets that came out.
fn deliver(to: &mut Member, from: SocketAddr, inbox: Vec<Datagram>, now: Instant) -> (Vec<Datagram>, Vec<BytesMut>) {
    let mut datagrams = inbox
        .into_iter()
        .map(|datagram| Datagram { peer: from, ..datagram })
        .collect();
    let mut out = InboundBatch::default();
    to.inbound.handle_datagrams(&mut datagrams, &mut out, now);
    (out.answers.direct, out.packets)
}

/// Carries datagrams between the two until both are silent; gives the packets that came out.
fn carry(a: &mut Member, b: &mut Member, mut to_b: Vec<Datagram>, now: Instant) -> Vec<BytesMut> {
    let mut arrived = vec![];
    while !to_b.is_empty() {
        let (to_a, at_b) = deliver(b, a.address, to_b, now);
        let (next, at_a) = deliver(a, b.address, to_a, now);
        arrived.extend(at_b.into_iter().chain(at_a));
        to_b = next;
    }
    arrived
}

#[test]
fn a_packet_reaches_its_member_without_padding() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    let first = a.send(packet(v4(1), v4(2)), now);
    assert_eq!(first[0].peer, address(2));
    let arrived = carry(&mut a, &mut b, first, now);
    assert_eq!(arrived, [packet(v4(1), v4(2))]);
    assert!(b.link(1).bytes().0 > 0);
}

#[test]
fn a_member_cannot_speak_for_another_nor_reach_beyond_this_one() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    let first = a.send(packet(v4(1), v4(2)), now);
    carry(&mut a, &mut b, first, now);
    let (link, table) = (a.link(2), a.table.load_full());
    for (bad, reason) in [
        (packet(v4(3), v4(2)), DropReason::SpoofedSource),
        (
            packet(v4(1), Ipv4Addr::new(192, 168, 1, 1)),
            DropReason::ForeignDestination,
        ),
        (BytesMut::from(&b"\x45 not an IP packet"[..]), DropReason::Malformed),
    ] {
        let mut send = Outgoing::default();
        link.with_tunnel(&table, &mut vec![], &mut send, |tunnel, out| tunnel.encrypt(bad, out));
        assert!(carry(&mut a, &mut b, send.direct, now).is_empty());
        assert_eq!(b.drops.of(reason), 1, "{reason:?}");
    }
}

#[test]
fn what_has_nowhere_to_go_is_counted() {
    let now = Instant::now();
    let mut a = member(1, &[2], now);
    a.link(2).set_path(None);
    assert!(a.send(packet(v4(1), v4(2)), now).is_empty());
    assert!(a.send(packet(v4(1), v4(7)), now).is_empty());
    assert!(a.send(packet(v4(9), v4(2)), now).is_empty());
    assert!(a.send(BytesMut::from(&[0x45][..]), now).is_empty());
    let counted: Vec<_> = a
        .drops
        .snapshot()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, _)| reason.label())
        .collect();
    assert_eq!(counted, ["malformed", "foreign_source", "no_such_member", "no_path"]);
}

/// Sessions in both directions.
fn introduce(a: &mut Member, b: &mut Member, numbers: (u16, u16), now: Instant) {
    let mut send = Outgoing::default();
    a.link(numbers.1)
        .with_tunnel(&a.table.load_full(), &mut vec![], &mut send, |tunnel, out| {
            tunnel.encrypt(packet(v4(numbers.0), v4(numbers.1)), out)
        });
    assert_eq!(carry(a, b, send.direct, now).len(), 1);
}

/// Members 1 to 3, of whom the first has sessions with the others.
fn three(now: Instant) -> [Member; 3] {
    let mut a = member(1, &[2, 3], now);
    let mut b = member(2, &[1, 3], now);
    let mut c = member(3, &[1, 2], now);
    introduce(&mut a, &mut b, (1, 2), now);
    introduce(&mut a, &mut c, (1, 3), now);
    [a, b, c]
}

fn discovery(from: [u8; 4], to: [u8; 4], port: u16) -> BytesMut {
    udp((from.into(), 5000), (to.into(), port), b"getinfo")
}

#[test]
fn what_is_for_all_reaches_every_member_once_and_comes_back_to_nobody() {
    let now = Instant::now();
    let [mut a, mut b, mut c] = three(now);
    for to in [[255; 4], [10, 64, 0, 255], [224, 0, 2, 60]] {
        let now = now + AT_ONCE * 40;
        let sent = a.send(discovery([10, 64, 0, 1], to, PORT), now);
        assert_eq!(sent.len(), if to == [10, 64, 0, 255] { 0 } else { 2 }, "{to:?}");
        for datagram in sent {
            let receiver = if datagram.peer == address(2) { &mut b } else { &mut c };
            let (answers, arrived) = deliver(receiver, a.address, vec![datagram], now);
            assert!(answers.is_empty());
            assert_eq!(arrived.len(), 1);
        }
    }
    assert!(a.send(discovery([10, 64, 0, 1], [255; 4], 9), now).is_empty());
    let counts = a.lan.bridge.lock().counts().clone();
    assert_eq!((counts.sent, counts.not_sent[&Rejection::Duplicate]), (2, 1));
    assert_eq!(counts.not_sent[&Rejection::PortNotAllowed], 1);
    assert_eq!(b.lan.bridge.lock().counts().received, 2);
}

#[test]
fn a_game_on_another_adapter_is_heard_answered_and_spared_where_the_lan_carries_it() {
    let now = Instant::now();
    let [mut a, mut b, _] = three(now);
    a.lan.masquerade.set_own([[192, 168, 1, 7].into()].into());
    a.link(3)
        .set_path(Some(Route::from(SocketAddr::from(([192, 168, 1, 8], 1000))).into()));
    let adapter = OtherAdapter {
        index: 2,
        networks: vec!["192.168.1.7/24".parse().unwrap()],
    };
    let mut send = Outgoing::default();
    // A virtual machine's, which this PC only passes on.
    let foreign = discovery([192, 168, 1, 99], [192, 168, 1, 255], PORT);
    a.outbound.handle_overheard(foreign, &adapter, &mut send, now);
    assert!(send.is_empty());
    let asked = discovery([192, 168, 1, 7], [192, 168, 1, 255], PORT);
    a.outbound.handle_overheard(asked, &adapter, &mut send, now);
    let peers: Vec<_> = send.direct.iter().map(|datagram| datagram.peer).collect();
    assert_eq!(peers, [address(2)]);
    let arrived = carry(&mut a, &mut b, send.direct, now);
    assert_eq!(arrived, [hop(discovery([10, 64, 0, 1], [10, 64, 0, 255], PORT))]);

    let answer = udp((v4(2).into(), PORT), (v4(1).into(), 5000), b"infoResponse");
    let sent = b.send(answer, now);
    let (_, arrived) = deliver(&mut a, b.address, sent, now);
    assert_eq!(
        arrived,
        [udp(
            (v4(2).into(), PORT),
            ([192, 168, 1, 7].into(), 5000),
            b"infoResponse"
        )]
    );
    let sent = a.send(
        udp(([192, 168, 1, 7].into(), 5000), (v4(2).into(), PORT), b"connect"),
        now,
    );
    let (_, arrived) = deliver(&mut b, a.address, sent, now);
    assert_eq!(arrived, [udp((v4(1).into(), 5000), (v4(2).into(), PORT), b"connect")]);
}

/// As it arrives: nobody passes it on.
fn hop(mut packet: BytesMut) -> BytesMut {
    let header = Header::read(&packet).unwrap();
    set_hop_limit(&mut packet, &header, 1);
    packet
}

#[test]
fn a_stranger_gets_no_session() {
    let now = Instant::now();
    let (mut stranger, mut b) = (member(9, &[2], now), member(2, &[1], now));
    let first = stranger.send(packet(v4(9), v4(2)), now);
    assert!(carry(&mut stranger, &mut b, first, now).is_empty());
    assert_eq!(b.drops.of(DropReason::NotAMember), 1);
}

#[test]
fn a_peer_without_a_path_is_answered_where_it_spoke_from() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    b.link(1).set_path(None);
    let first = a.send(packet(v4(1), v4(2)), now);
    assert_eq!(carry(&mut a, &mut b, first, now).len(), 1);
    assert_eq!(b.link(1).path(), Some(Route::from(address(1)).into()));
}

#[test]
fn a_member_that_left_is_a_stranger() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    let first = a.send(packet(v4(1), v4(2)), now);
    carry(&mut a, &mut b, first, now);
    let without = b.table.load().with_peers(v4(2), v6(2), vec![]);
    b.table.store(Arc::new(without));
    let next = a.send(packet(v4(1), v4(2)), now);
    assert!(carry(&mut a, &mut b, next, now).is_empty());
    assert_eq!(b.drops.of(DropReason::UnknownSession), 1);
}

#[test]
fn noise_does_not_reach_the_loop() {
    let now = Instant::now();
    let mut a = member(1, &[2], now);
    let probe = |tag: &[u8; 4]| {
        let mut probe = probe::MAGIC.to_vec();
        probe.extend(tag);
        probe.resize(probe::LEN, 0);
        probe
    };
    let stun = [&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
    let mut passed = |datagram: &[u8], now| {
        let datagram = Datagram {
            peer: address(9),
            data: datagram.into(),
        };
        let mut out = InboundBatch::default();
        a.inbound.handle_datagrams(&mut vec![datagram], &mut out, now);
        out.control.len()
    };
    assert_eq!(passed(b"hello", now), 0);
    assert_eq!(passed(&[0x99; 400], now), 0);
    assert_eq!(passed(&probe(b"evil"), now), 0);
    assert_eq!(passed(&probe(b"tag\x02"), now), 1);
    let flood: usize = (0..10_000).map(|_| passed(&stun, now)).sum();
    assert_eq!(flood, 500, "of forged STUN answers at once");
    assert_eq!(passed(&stun, now + std::time::Duration::from_millis(10)), 1);
}

#[test]
fn a_relayed_session_is_answered_through_the_relay() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    let through = |number| Route::Relay {
        relay: RelayNumber(0),
        member: MemberId(number),
    };
    a.link(2).set_path(Some(through(2).into()));
    b.link(1).set_path(None);
    let mut send = Outgoing::default();
    a.outbound
        .handle_packets(&mut vec![packet(v4(1), v4(2))], &mut send, now);
    let (mut from, mut arrived) = (1, vec![]);
    while !send.relayed.is_empty() {
        assert!(send.direct.is_empty());
        let to = if from == 1 { &mut b } else { &mut a };
        let mut inbox: Vec<Packet> = send
            .relayed
            .drain(..)
            .map(|relayed| Packet {
                peer: through(from),
                data: relayed.data,
            })
            .collect();
        let mut out = InboundBatch::default();
        to.inbound.handle_datagrams(&mut inbox, &mut out, now);
        arrived.extend(out.packets);
        (send, from) = (out.answers, 3 - from);
    }
    assert_eq!(arrived, [packet(v4(1), v4(2))]);
    assert_eq!(b.link(1).path(), Some(through(1).into()));
}

#[test]
fn a_doubtful_path_has_its_packets_take_the_other_one_too_and_none_arrives_twice() {
    let now = Instant::now();
    let (mut a, mut b) = (member(1, &[2], now), member(2, &[1], now));
    let first = a.send(packet(v4(1), v4(2)), now);
    carry(&mut a, &mut b, first, now);
    let also = SocketAddr::from(([198, 51, 100, 2], 2000));
    a.link(2).set_path(Some(PathInUse {
        route: address(2).into(),
        also: Some(also.into()),
    }));
    let sent = a.send(packet(v4(1), v4(2)), now);
    assert_eq!(
        sent.iter().map(|datagram| datagram.peer).collect::<Vec<_>>(),
        [also, address(2)]
    );
    assert_eq!(deliver(&mut b, address(1), sent, now).1.len(), 1);
}
