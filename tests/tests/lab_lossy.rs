//! Bad links: what is sent through the tunnel arrives, and the tunnel loses nothing that the link does not lose.
#![expect(
    clippy::print_stderr,
    reason = "the losses measured say more than that they are small enough"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::address::{SERVER, SERVER2};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::scene::{Place, Player, Scene};
use lanrage_tests::lab::tally::Tally;
use lanrage_tests::lab::traffic::{self, Stream, StreamOutcome};
use lanrage_tests::lab::{HomeSpec, Lab, LinkSpec, Nat, Netns, wait};

const SETTLE: Duration = Duration::from_secs(40);
const PING_EVERY: Duration = Duration::from_millis(200);
/// One way on the host's link, which is a good one, in ms.
const HOP_MS: f64 = 1.0;
/// Packets per second and stream, and how many of them.
const RATE: u32 = 150;
const PACKETS: u64 = 2500;
/// Bytes of a packet, less its IP and UDP headers, and of what carries it on the wire: what a game sends, and the most the tunnel
/// takes at once. What is only acknowledged or asked is smaller; half of a large one that a relay's session splits is large, too.
const SIZES: [(usize, RangeInclusive<usize>); 2] = [(200, 240..=600), (1280 - 28, 601..=1500)];
/// The share of packets that may be lost beyond what the link loses.
const ADDED_LOSS: f64 = 0.001;
/// Bytes to transfer, and in how many connections at once: a single one crawls where a fifth of its packets is lost.
const BULK: usize = 10_000_000;
const CONNECTIONS: usize = 10;

/// A way a link can be bad.
struct Condition {
    name: &'static str,
    link: LinkSpec,
    /// How much more the share of lost packets varies from run to run than if each were lost on its own.
    variance: f64,
}

fn conditions() -> [Condition; 4] {
    let good = LinkSpec::delay(HOP_MS);
    [
        Condition {
            name: "20 % loss",
            link: LinkSpec { loss: 20.0, ..good },
            variance: 1.0,
        },
        Condition {
            // A bad spell begins with 2.174 % of the packets and is 4 long on average: 8 % are in one.
            name: "8 % loss in bursts",
            link: LinkSpec {
                burst: Some((2.174, 25.0)),
                ..good
            },
            // (1 + r) / (1 - r) of a two-state chain with r = 1 - 0.25 - 0.02174.
            variance: 6.4,
        },
        Condition {
            name: "50 ms jitter",
            link: LinkSpec {
                jitter_ms: 50.0,
                ..good
            },
            variance: 1.0,
        },
        Condition {
            // What skips the delay overtakes the 5 packets before it.
            name: "5 % reordered",
            link: LinkSpec {
                delay_ms: 20.0,
                reorder: 5.0,
                ..good
            },
            variance: 1.0,
        },
    ]
}

/// One guest behind a bad link, in the middle of the measurement.
struct Measured<'a> {
    condition: &'a Condition,
    guest: &'a Player,
    /// For each of [`SIZES`].
    tallies: Vec<Tally>,
    to_host: Vec<Stream>,
    to_guest: Vec<Stream>,
    /// As many packets as of one size on the same link, past the tunnel.
    outside: Stream,
}

impl<'a> Measured<'a> {
    fn start(scene: &Scene, condition: &'a Condition, guest: &'a Player, address: Ipv4Addr) -> Result<Self> {
        let (from, host) = (guest.agent.netns(), scene.host.agent.netns());
        let relayed = guest.home.kind.nat == Nat::Symmetric;
        let peer = if relayed { SERVER } else { scene.host.home.wan };
        let tally = |(_, wire): &(_, RangeInclusive<usize>)| Tally::start(&scene.lab, &guest.home, peer, wire.clone());
        Ok(Self {
            condition,
            guest,
            tallies: SIZES.iter().map(tally).collect::<Result<_>>()?,
            to_host: of_all_sizes(from, host, scene.host_ip)?,
            to_guest: of_all_sizes(host, from, address)?,
            outside: Stream::start(from, &scene.lab.srv2, SERVER2.into(), RATE)?,
        })
    }

    fn sent(&self) -> u64 {
        self.outside.sent()
    }

    /// Judges by the link's own counters: they saw the same packets, so that luck does not enter into it.
    fn finish(mut self) -> Result<()> {
        let mut streams = std::mem::take(&mut self.to_host);
        streams.append(&mut self.to_guest);
        streams.push(self.outside);
        let outcomes = Stream::finish_all(streams)?;
        let (to_host, rest) = outcomes.split_at(SIZES.len());
        let (to_guest, outside) = rest.split_at(SIZES.len());
        let outside = &outside[0];
        let name = self.condition.name;
        for (at, tally) in self.tallies.iter().enumerate() {
            for (way, inside, wire) in [
                ("from the guest", &to_host[at], tally.leaving()?),
                ("to the guest", &to_guest[at], tally.arriving()?),
            ] {
                // Where a relay's handshake does not get through by UDP in time, it is reached by TCP, which the tally does not see.
                let by_udp = wire.entered >= PACKETS / 2;
                let link = if by_udp { wire.loss() } else { outside.loss() };
                let added = inside.loss() - link;
                eprintln!(
                    "{name}, {way}, {} bytes: lost {} of {} in the tunnel, {wire:?} on the wire: {:+.3} points",
                    SIZES[at].0,
                    inside.lost,
                    inside.sent,
                    added * 100.0
                );
                ensure!(
                    added <= ADDED_LOSS,
                    "{name}, {way}: {:.3} points are lost beyond the link's {wire:?}: {inside:?}; the guest's log:\n{}",
                    added * 100.0,
                    self.guest.agent.log()
                );
            }
        }
        let luck = 3.0 * deviation(&to_host[0], outside, self.condition.variance);
        eprintln!(
            "{name}: outside the tunnel {:.2} % of {} were lost, inside {:.2} %; three standard deviations are {:.2} points",
            outside.loss() * 100.0,
            outside.sent,
            to_host[0].loss() * 100.0,
            luck * 100.0
        );
        ensure!(
            to_host[0].loss() - outside.loss() <= ADDED_LOSS + luck,
            "{name}: inside {to_host:?}, outside {outside:?}"
        );
        Ok(())
    }
}

fn of_all_sizes(from: &Netns, to: &Netns, at: Ipv4Addr) -> Result<Vec<Stream>> {
    SIZES
        .iter()
        .map(|(payload, _)| Stream::start_sized(from, to, at.into(), RATE, *payload))
        .collect()
}

/// The standard deviation of the difference between the losses inside and outside, of as many packets each, were they equally
/// likely to be lost.
fn deviation(inside: &StreamOutcome, outside: &StreamOutcome, variance: f64) -> f64 {
    let loss = f64::midpoint(inside.loss(), outside.loss());
    (loss * (1.0 - loss) * variance * 2.0 / outside.sent as f64).sqrt()
}

/// TCP on a link that loses a fifth of its packets mostly waits, ever longer. What it waits for at least and at most is meant for
/// the whole world's links; the most can be set in newer kernels only.
fn hurry_tcp(agent: &Agent, peer: Ipv4Addr) -> Result<()> {
    let (netns, tun) = (agent.netns(), agent.status()?.device.tun);
    let _ = netns.sysctl(&[("ipv4/tcp_rto_max_ms", "1000")]);
    netns.ip(&format!("route replace {peer}/32 dev {tun} rto_min 10ms\n"))
}

/// Behind homes of this kind, each bad link at once: loses nothing of its own, and bulk data arrives as it was sent.
fn endure(nat: Nat, settled: impl Fn(&Agent, &str) -> Result<()>) -> Result<()> {
    let Some(lab) = Lab::for_test()? else {
        return Ok(());
    };
    let conditions = conditions();
    let place = |link| Place {
        home: HomeSpec::new(nat),
        link,
    };
    let links = conditions.iter().map(|condition| condition.link);
    let places = std::iter::once(LinkSpec::delay(HOP_MS)).chain(links).map(place);
    let scene = Scene::build(lab, places)?;
    let addresses = scene.join_all()?;
    let host = &scene.host.agent;
    let all_settled = || {
        scene.guests.iter().try_for_each(|guest| {
            settled(&guest.agent, host.name())?;
            settled(host, guest.agent.name())
        })
    };
    all_settled()?;
    // Packets wait for a session to begin with, which takes its time where its own packets are lost.
    for guest in &scene.guests {
        Pinger::new(guest.agent.netns(), scene.host_ip)?.first_answer(PING_EVERY, SETTLE)?;
    }
    let mut measured = Vec::new();
    for ((condition, guest), address) in conditions.iter().zip(&scene.guests).zip(&addresses) {
        measured.push(Measured::start(&scene, condition, guest, *address)?);
    }
    wait::until("enough packets to be sent", SETTLE, || {
        measured.iter().all(|each| each.sent() >= PACKETS).then_some(())
    })?;
    measured.into_iter().try_for_each(Measured::finish)?;
    all_settled()?;

    let at = IpAddr::from(scene.host_ip);
    std::thread::scope(|scope| {
        let transfer = |(guest, condition): (&'_ Player, &'_ Condition)| -> Result<()> {
            hurry_tcp(&guest.agent, scene.host_ip)?;
            let start = Instant::now();
            traffic::transfer_in_parts(guest.agent.netns(), host.netns(), at, BULK, CONNECTIONS)
                .with_context(|| format!("10 MB with {}; the guest's log:\n{}", condition.name, guest.agent.log()))?;
            eprintln!("{}: 10 MB arrived intact in {:.1?}", condition.name, start.elapsed());
            Ok(())
        };
        let threads: Vec<_> = scene
            .guests
            .iter()
            .zip(&conditions)
            .map(|pair| scope.spawn(move || transfer(pair)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?)
    })?;
    all_settled()
}

#[test]
fn bad_links_cost_a_direct_path_nothing_but_what_they_lose() -> Result<()> {
    endure(Nat::PortRestricted, |agent, peer| {
        agent.wait_direct(peer, SETTLE).map(drop)
    })
}

#[test]
fn bad_links_cost_a_relayed_path_nothing_but_what_they_lose() -> Result<()> {
    endure(Nat::Symmetric, |agent, peer| agent.wait_relayed(peer, SETTLE).map(drop))
}
