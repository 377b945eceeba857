//! Narrow links: a packet of any length arrives, also where the link becomes narrow in the middle.
#![expect(
    clippy::print_stderr,
    reason = "what was lost, and for how long, says more than that it is little enough"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::scene::{Place, Scene};
use lanrage_tests::lab::traffic::Stream;
use lanrage_tests::lab::{HomeSpec, Kind, Lab, LinkSpec, Nat, fault, wait};

const HOP_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);
/// What IPv6 asks of every link (RFC 8200 §5): nothing narrower is in use.
const NARROW: u16 = 1280;
/// Packets per second and stream.
const RATE: u32 = 200;
/// IPv4 and UDP.
const HEADERS: usize = 28;
/// What WireGuard puts around a packet, which it fills up to a multiple of 16 before.
const WIREGUARD: usize = 32;
/// Lengths of packets in the tunnel: one whose WireGuard packet has 1,200 bytes, one of 1,200 bytes itself, and the largest.
const LENGTHS: [usize; 3] = [1200 - WIREGUARD, 1200, 1280];

/// How a pair is to be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct4,
    Direct6,
    Relay,
}

impl Way {
    fn home(self) -> Kind {
        match self {
            Self::Direct4 => Nat::PortRestricted.into(),
            Self::Direct6 => Kind::ipv6(),
            Self::Relay => Nat::Symmetric.into(),
        }
    }

    fn settled(self, agent: &Agent, peer: &str) -> Result<()> {
        let found = match self {
            Self::Relay => agent.wait_relayed(peer, SETTLE)?,
            Self::Direct4 | Self::Direct6 => agent.wait_direct(peer, SETTLE)?,
        };
        let by_ipv6 = found.path.address.is_some_and(|address| address.is_ipv6());
        ensure!(by_ipv6 == (self == Self::Direct6), "{self:?} is {found:?}");
        Ok(())
    }
}

/// Two homes connected in one of the ways, on links that are narrow from the beginning or not yet.
struct Pair {
    scene: Scene,
    guest_ip: Ipv4Addr,
    way: Way,
}

impl Pair {
    fn new(way: Way, narrow: bool) -> Result<Option<Self>> {
        let Some(lab) = Lab::for_test()? else {
            return Ok(None);
        };
        let place = Place {
            home: HomeSpec::new(way.home()),
            link: LinkSpec::delay(HOP_MS),
        };
        let scene = Scene::build(lab, [place.clone(), place])?;
        if narrow {
            fault::narrow(&scene.host.home, NARROW)?;
            fault::narrow(&scene.guests[0].home, NARROW)?;
        }
        let guest_ip = scene.join_all()?[0];
        let pair = Self { scene, guest_ip, way };
        pair.settled()?;
        Ok(Some(pair))
    }

    fn settled(&self) -> Result<()> {
        let (host, guest) = (&self.scene.host.agent, &self.scene.guests[0].agent);
        self.way.settled(guest, host.name())?;
        self.way.settled(host, guest.name())
    }

    /// Packets of every length, both ways.
    fn streams(&self) -> Result<Vec<Stream>> {
        let (host, guest) = (self.scene.host.agent.netns(), self.scene.guests[0].agent.netns());
        let mut streams = Vec::new();
        for length in LENGTHS {
            let payload = length - HEADERS;
            let there = Stream::start_sized(guest, host, self.scene.host_ip.into(), RATE, payload)?;
            let back = Stream::start_sized(host, guest, self.guest_ip.into(), RATE, payload)?;
            streams.extend([there, back]);
        }
        wait::until("packets of every length to flow", SETTLE, || {
            streams.iter().all(Stream::is_flowing).then_some(())
        })?;
        Ok(streams)
    }

    fn logs(&self) -> String {
        let players = std::iter::once(&self.scene.host).chain(&self.scene.guests);
        let logs = players.map(|player| format!("{}'s log:\n{}", player.agent.name(), player.agent.log()));
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// Of a steady stream over links that are narrow from the beginning, nothing is lost.
fn narrow_from_the_beginning(way: Way) -> Result<()> {
    let Some(pair) = Pair::new(way, true)? else {
        return Ok(());
    };
    let streams = pair.streams()?;
    streams[0].run_on(u64::from(RATE) * 4, SETTLE)?;
    let outcomes = Stream::finish_all(streams)?;
    pair.settled()?;
    for (outcome, length) in outcomes.iter().zip(LENGTHS.iter().flat_map(|length| [length; 2])) {
        eprintln!("{way:?}, {length} bytes: {outcome:?}");
    }
    let all_arrived = outcomes.iter().all(|outcome| outcome.lost == 0);
    ensure!(all_arrived, "{way:?}: {outcomes:?}\n{}", pair.logs());
    Ok(())
}

/// Of each stream over links that become narrow in the middle, no more is lost than it sends within `limit`.
fn narrow_in_the_middle(way: Way, limit: Duration) -> Result<()> {
    let Some(pair) = Pair::new(way, false)? else {
        return Ok(());
    };
    let streams = pair.streams()?;
    // Until the search for the path's MTU has found all of it.
    streams[0].run_on(u64::from(RATE) * 2, SETTLE)?;
    let since = Instant::now();
    fault::narrow(&pair.scene.guests[0].home, NARROW)?;
    streams[0].run_on(u64::from(RATE) * 3, SETTLE)?;
    wait::until("packets to flow on", SETTLE, || {
        streams.iter().all(Stream::is_flowing).then_some(())
    })?;
    let silences: Vec<Duration> = streams.iter().map(|stream| stream.longest_silence(since)).collect();
    let outcomes = Stream::finish_all(streams)?;
    for ((outcome, silence), length) in outcomes
        .iter()
        .zip(&silences)
        .zip(LENGTHS.iter().flat_map(|length| [length; 2]))
    {
        eprintln!("{way:?}, {length} bytes: longest silence {silence:?}, {outcome:?}");
    }
    let allowed = (limit.as_secs_f64() * f64::from(RATE)).ceil() as u64;
    let all_arrived = outcomes.iter().all(|outcome| outcome.lost <= allowed);
    ensure!(all_arrived, "{way:?}: {outcomes:?}\n{}", pair.logs());
    Ok(())
}

#[test]
fn no_length_is_lost_on_a_narrow_direct_path() -> Result<()> {
    narrow_from_the_beginning(Way::Direct4)
}

#[test]
fn no_length_is_lost_on_a_narrow_direct_path_over_ipv6() -> Result<()> {
    narrow_from_the_beginning(Way::Direct6)
}

#[test]
fn no_length_is_lost_on_a_narrow_path_through_a_relay() -> Result<()> {
    narrow_from_the_beginning(Way::Relay)
}

#[test]
fn a_direct_path_that_becomes_narrow_loses_only_what_is_on_its_way() -> Result<()> {
    narrow_in_the_middle(Way::Direct4, Duration::from_millis(50))
}

#[test]
fn a_path_through_a_relay_that_becomes_narrow_loses_only_what_is_on_its_way() -> Result<()> {
    // A round trip through the relay and back, and the patience of those who acknowledge: until then nobody can know.
    narrow_in_the_middle(Way::Relay, Duration::from_millis(100))
}
