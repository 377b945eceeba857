use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ip::testing::{is_sound, join, udp};

const HOME: Home = Home {
    v4: Ipv4Addr::new(10, 64, 0, 1),
    v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    broadcast: Ipv4Addr::new(10, 64, 0, 255),
};
const LAN: Way = Way::Adapter {
    index: 2,
    broadcast: Some(Ipv4Addr::new(192, 168, 1, 255)),
};
const PORT: u16 = 27960;

fn bridge() -> Bridge {
    let mut policy = Policy::default();
    policy.allow(PORT..=PORT);
    policy.allow(4445..=4445);
    Bridge::new(policy, 1280)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn discovery(from: &str, to: &str, payload: &[u8]) -> BytesMut {
    udp((ip(from), 5000), (ip(to), PORT), payload)
}

impl Bridge {
    fn send(&mut self, packet: BytesMut, way: Way, now: Instant) -> Result<Vec<BytesMut>, Rejection> {
        let mut out = Vec::new();
        self.handle_local(packet, way, HOME, now, &mut out)?;
        Ok(out)
    }
}

#[test]
fn what_games_send_to_all_goes_out_under_the_virtual_address_and_no_further_than_the_members() {
    let now = Instant::now();
    for (from, to, way, arrives_at) in [
        ("10.64.0.1", "255.255.255.255", Way::Tunnel, "255.255.255.255"),
        ("10.64.0.1", "10.64.0.255", Way::Tunnel, "10.64.0.255"),
        ("10.64.0.1", "224.0.2.60", Way::Tunnel, "224.0.2.60"),
        ("fd00::1", "ff02::1", Way::Tunnel, "ff02::1"),
        ("192.168.1.7", "255.255.255.255", LAN, "255.255.255.255"),
        ("192.168.1.7", "192.168.1.255", LAN, "10.64.0.255"),
        ("2001:db8::7", "ff05::2", LAN, "ff05::2"),
    ] {
        let mut bridge = bridge();
        let out = bridge.send(discovery(from, to, b"getinfo"), way, now).unwrap();
        let header = Header::read(&out[0]).unwrap();
        assert_eq!(header.destination, ip(arrives_at));
        assert!(header.source == HOME.v4 || header.source == HOME.v6, "{header:?}");
        assert!(is_sound(&out[0]), "{from} {to}");
        assert_eq!(out[0][if header.source.is_ipv4() { 8 } else { 7 }], 1);
        let mut arrived = out[0].clone();
        let there = Home {
            v4: Ipv4Addr::new(10, 64, 0, 2),
            ..HOME
        };
        let received = bridge.handle_remote(&mut arrived, MemberId(1), there, now).unwrap();
        assert_eq!(received.destination, ip(arrives_at));
        assert!(is_sound(&arrived));
    }
}

#[test]
fn what_is_not_for_all_or_not_a_game_stays() {
    let now = Instant::now();
    let mut bridge = bridge();
    let mut refused = |packet, way| bridge.send(packet, way, now).unwrap_err();
    assert_eq!(
        refused(discovery("10.64.0.1", "10.64.0.2", b""), Way::Tunnel),
        Rejection::NotForAll
    );
    assert_eq!(
        refused(discovery("10.64.0.1", "192.168.1.255", b""), Way::Tunnel),
        Rejection::NotForAll
    );
    assert_eq!(
        refused(discovery("fd00::1", "ff01::1", b""), Way::Tunnel),
        Rejection::NotForAll
    );
    let to = |port| udp((ip("10.64.0.1"), 5000), (ip("255.255.255.255"), port), b"x");
    assert_eq!(refused(to(67), Way::Tunnel), Rejection::NeverBridged);
    assert_eq!(refused(to(5353), Way::Tunnel), Rejection::NotOptedIn);
    assert_eq!(refused(to(9), Way::Tunnel), Rejection::PortNotAllowed);
    let mut igmp = to(9);
    igmp[9] = 2;
    assert_eq!(refused(igmp, Way::Tunnel), Rejection::NotUdp);
    assert_eq!(
        refused(BytesMut::from(&[0x45u8; 12][..]), Way::Tunnel),
        Rejection::Malformed
    );
    let counts = bridge.counts();
    assert_eq!((counts.sent, counts.not_sent.values().sum::<u64>()), (0, 8));
}

#[test]
fn a_member_cannot_send_what_this_pc_did_not_opt_in_to_nor_a_storm() {
    let now = Instant::now();
    let mut bridge = bridge();
    let to = |port| udp((ip("10.64.0.2"), 5000), (ip("255.255.255.255"), port), b"x");
    for (port, rejection) in [
        (68, Rejection::NeverBridged),
        (5355, Rejection::NeverBridged),
        (137, Rejection::NeverBridged),
        (1900, Rejection::NotOptedIn),
    ] {
        let refused = bridge.handle_remote(&mut to(port), MemberId(2), HOME, now);
        assert_eq!(refused, Err(rejection));
    }
    let passed = |bridge: &mut Bridge, member| {
        let all = 0..1000;
        all.filter(|_| bridge.handle_remote(&mut to(9), MemberId(member), HOME, now).is_ok())
            .count()
    };
    assert_eq!(passed(&mut bridge, 2), BURST as usize);
    assert_eq!(passed(&mut bridge, 3), BURST as usize);
}

#[test]
fn a_packet_that_comes_by_many_ways_goes_out_once_and_again_when_it_is_said_again() {
    let start = Instant::now();
    let mut bridge = bridge();
    let (mut sent, mut offered) = (0, 0);
    for second in 0..20 {
        let now = start + Duration::from_secs(second);
        for index in 0..4 {
            let lan = Way::Adapter {
                index,
                broadcast: Some(Ipv4Addr::new(192, 168, index as u8, 255)),
            };
            let ways = [
                (discovery("10.64.0.1", "255.255.255.255", b"hello"), Way::Tunnel),
                (discovery("10.64.0.1", "10.64.0.255", b"hello"), Way::Tunnel),
                (discovery("192.168.1.7", "255.255.255.255", b"hello"), lan),
            ];
            for (packet, way) in ways {
                offered += 1;
                sent += bridge.send(packet, way, now).map_or(0, |out| out.len());
            }
        }
    }
    // A twelfth: 92 % less.
    assert_eq!((sent, offered), (20, 240));
    assert_eq!(bridge.counts().not_sent[&Rejection::Duplicate], 220);
}

#[test]
fn a_datagram_larger_than_the_tunnels_packets_arrives_whole() {
    let now = Instant::now();
    for (from, to) in [("192.168.1.7", "255.255.255.255"), ("2001:db8::7", "ff02::2")] {
        let mut bridge = bridge();
        let packet = discovery(from, to, &[7; 1400]);
        let out = bridge.send(packet, LAN, now).unwrap();
        assert_eq!(out.len(), 2);
        assert!(out.iter().all(|piece| piece.len() <= 1280));
        for piece in &out {
            let received = bridge.handle_remote(&mut piece.clone(), MemberId(2), HOME, now);
            assert!(received.is_ok(), "{received:?}");
        }
        assert_eq!(join(&out)[8..], [7; 1400]);
    }
}

#[test]
fn fragments_follow_the_first_and_no_other() {
    let now = Instant::now();
    let mut bridge = bridge();
    let pieces = |port| {
        let packet = udp((ip("10.64.0.1"), 5000), (ip("255.255.255.255"), port), &[1; 5000]);
        let mut pieces = Vec::new();
        ip::cut(
            packet.clone(),
            &Header::read(&packet).unwrap(),
            1280,
            u32::from(port),
            &mut pieces,
        );
        pieces
    };
    let mut sent = |piece| bridge.send(piece, Way::Tunnel, now).map(|out| out.len());
    let allowed: Vec<_> = pieces(PORT).into_iter().map(&mut sent).collect();
    assert_eq!(allowed, [Ok(1); 4]);
    let refused: Vec<_> = pieces(9).into_iter().map(&mut sent).collect();
    assert_eq!(refused[0], Err(Rejection::PortNotAllowed));
    assert_eq!(refused[1..], [Err(Rejection::OrphanFragment); 3]);
}

#[test]
fn a_datagram_has_no_more_pieces_than_the_longest_can_have() {
    let now = Instant::now();
    let mut bridge = bridge();
    let packet = udp((ip("10.64.0.2"), 5000), (ip("255.255.255.255"), PORT), &[1; 2000]);
    let mut pieces = Vec::new();
    ip::cut(packet.clone(), &Header::read(&packet).unwrap(), 1280, 7, &mut pieces);
    let mut arrive = |piece: &BytesMut| bridge.handle_remote(&mut piece.clone(), MemberId(2), HOME, now).is_ok();
    assert!(arrive(&pieces[0]));
    assert_eq!((0..1000).filter(|_| arrive(&pieces[1])).count(), 127);
}

#[test]
fn another_party_begins_with_nothing_of_the_last() {
    let now = Instant::now();
    let mut bridge = bridge();
    let hello = || discovery("10.64.0.1", "255.255.255.255", b"hello");
    (0..1000).for_each(|_| {
        let _ = bridge.handle_remote(&mut hello(), MemberId(1), HOME, now);
    });
    assert!(bridge.send(hello(), Way::Tunnel, now).is_ok());
    assert!(bridge.send(hello(), LAN, now).is_err());
    bridge.clear();
    assert!(bridge.send(hello(), LAN, now).is_ok());
    assert!(bridge.handle_remote(&mut hello(), MemberId(1), HOME, now).is_ok());
}

#[test]
fn what_was_overheard_before_its_checksums_were_computed_goes_out_whole() {
    let mut packet = discovery("192.168.1.7", "192.168.1.255", b"getinfo");
    packet[10..12].fill(0);
    packet[26..28].fill(7);
    let out = bridge().send(packet, LAN, Instant::now()).unwrap();
    assert!(is_sound(&out[0]));
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes: Vec<u8>, remote: bool) {
        let mut bridge = bridge();
        let mut packet = BytesMut::from(bytes.as_slice());
        if remote {
            let _ = bridge.handle_remote(&mut packet, MemberId(2), HOME, Instant::now());
        } else {
            let _ = bridge.send(packet, LAN, Instant::now());
        }
    }
}
