//! Measures the bridge: nanoseconds for a packet on each of its ways, how often one packet is taken for another, and how much a game
//! that sends everything by every adapter is cut down.
#![expect(clippy::print_stdout, reason = "the result is what this program is for")]

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lanrage_agent_core::broadcast::{Bridge, Home, Policy, Seen, WINDOW, Way};
use lanrage_agent_core::ip;
use lanrage_shared::ids::MemberId;

const PACKETS: u32 = 100_000;
const ROUNDS: u32 = 5;
const PORT: u16 = 27960;
const HOME: Home = Home {
    v4: Ipv4Addr::new(10, 64, 0, 1),
    v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
    broadcast: Ipv4Addr::new(10, 64, 0, 255),
};

fn main() {
    println!(
        "filter of duplicates, {PACKETS} different packets in its window of {} s:",
        WINDOW.as_secs()
    );
    let (mistakes, each) = filter();
    println!(
        "  taken for another: {mistakes} ({:.4} %); {each:.0} ns each, looked up and remembered; 64 KiB",
        f64::from(mistakes) * 100.0 / f64::from(PACKETS)
    );
    // One packet a second passes the rate limit; most of those measured are told from others and then refused, so they are
    // spread over as much time as they may take.
    let spread = Duration::from_millis(8);
    println!("a broadcast of 100 bytes:");
    println!("  of this PC, passed on: {:.0} ns", local(|number| number, spread));
    println!(
        "  of this PC, a duplicate: {:.0} ns",
        local(|_| 0, Duration::from_micros(1))
    );
    println!(
        "  of this PC, over the rate: {:.0} ns",
        local(|number| number, Duration::ZERO)
    );
    println!("  of a member, let in: {:.0} ns", remote(spread));
    let (offered, sent) = everywhere();
    println!(
        "a game that announces itself every second by the tunnel (to both broadcast addresses) and three other adapters: {sent} of \
         {offered} go out, {:.0} % less",
        f64::from(offered - sent) * 100.0 / f64::from(offered)
    );
}

fn filter() -> (u32, f64) {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let contents: Vec<u64> = (0..PACKETS).map(|number| hasher.hash_one(number)).collect();
    let (mut seen, start) = (Seen::default(), Instant::now());
    let (mut mistakes, began) = (0, Instant::now());
    for (number, content) in (0..).zip(&contents) {
        let now = start + WINDOW * number / PACKETS;
        mistakes += u32::from(seen.is_duplicate(*content, 0, now));
        seen.insert(*content, 1, now);
    }
    (mistakes, nanos(began, PACKETS))
}

fn nanos(began: Instant, packets: u32) -> f64 {
    began.elapsed().as_secs_f64() * 1e9 / f64::from(packets)
}

fn bridge() -> Bridge {
    let mut policy = Policy::default();
    policy.allow(PORT..=PORT);
    Bridge::new(policy, 1280)
}

fn packet(from: Ipv4Addr, to: Ipv4Addr, number: u32) -> BytesMut {
    let mut payload = [0; 100];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    let from: IpAddr = from.into();
    ip::udp((from, 5000), (to.into(), PORT), &payload).unwrap_or_default()
}

/// The best of some rounds, without making the packets.
fn best(round: impl Fn(Vec<BytesMut>) -> f64, packets: impl Fn() -> Vec<BytesMut>) -> f64 {
    (0..ROUNDS).map(|_| round(packets())).fold(f64::INFINITY, f64::min)
}

fn local(number: impl Fn(u32) -> u32, apart: Duration) -> f64 {
    let packets = || {
        (0..PACKETS)
            .map(|at| packet(HOME.v4, Ipv4Addr::BROADCAST, number(at)))
            .collect()
    };
    let round = |packets: Vec<BytesMut>| {
        let (mut bridge, mut out, start) = (bridge(), Vec::new(), Instant::now());
        let began = Instant::now();
        for (at, packet) in (0..).zip(packets) {
            out.clear();
            let _ = bridge.handle_local(packet, Way::Tunnel, HOME, start + apart * at, &mut out);
        }
        nanos(began, PACKETS)
    };
    best(round, packets)
}

fn remote(apart: Duration) -> f64 {
    let packets = || {
        let from = Ipv4Addr::new(10, 64, 0, 2);
        (0..PACKETS).map(|at| packet(from, Ipv4Addr::BROADCAST, at)).collect()
    };
    let round = |packets: Vec<BytesMut>| {
        let (mut bridge, start) = (bridge(), Instant::now());
        let began = Instant::now();
        for (at, mut packet) in (0..).zip(packets) {
            let _ = bridge.handle_remote(&mut packet, MemberId(2), HOME, start + apart * at);
        }
        nanos(began, PACKETS)
    };
    best(round, packets)
}

fn everywhere() -> (u32, u32) {
    let (mut bridge, mut out, start) = (bridge(), Vec::new(), Instant::now());
    let (mut offered, mut sent) = (0, 0);
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        let mut offer = |from: Ipv4Addr, to: Ipv4Addr, way: Way| {
            offered += 1;
            out.clear();
            let taken = bridge.handle_local(packet(from, to, 7), way, HOME, now, &mut out);
            sent += u32::from(taken.is_ok());
        };
        offer(HOME.v4, Ipv4Addr::BROADCAST, Way::Tunnel);
        offer(HOME.v4, HOME.broadcast, Way::Tunnel);
        for index in 1..=3 {
            let lan = |last| Ipv4Addr::new(192, 168, index as u8, last);
            let way = Way::Adapter {
                index,
                broadcast: Some(lan(255)),
            };
            offer(lan(7), lan(255), way);
        }
    }
    (offered, sent)
}
