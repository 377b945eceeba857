//! Packets keep coming while the way they take changes: upgrades, cuts, roaming, forgotten mappings, sleep.
#![expect(
    clippy::print_stderr,
    reason = "the times measured say more than that they are short enough"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::fault::{self, Cut};
use lanrage_tests::lab::home::Home;
use lanrage_tests::lab::scene::{Player, Scene};
use lanrage_tests::lab::traffic::Stream;
use lanrage_tests::lab::{HomeSpec, LinkSpec, Nat, wait};

/// One way from a home to the internet, in ms: four of them make the 20 ms between two players.
const HOP_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);

/// Packets between the host and every guest, both ways.
struct Flows(Vec<Stream>);

impl Flows {
    fn start(scene: &Scene, guests: &[Ipv4Addr], per_second: u32) -> Result<Self> {
        let host = scene.host.agent.netns();
        let mut streams = Vec::new();
        for (guest, address) in scene.guests.iter().zip(guests) {
            let guest = guest.agent.netns();
            streams.push(Stream::start(guest, host, scene.host_ip.into(), per_second)?);
            streams.push(Stream::start(host, guest, (*address).into(), per_second)?);
        }
        let flows = Self(streams);
        flows.wait_until_flowing()?;
        Ok(flows)
    }

    fn wait_until_flowing(&self) -> Result<()> {
        wait::until("packets to flow", SETTLE, || {
            self.0.iter().all(Stream::is_flowing).then_some(())
        })
    }

    /// The longest silence of each since `since`.
    fn silences(&self, since: Instant) -> Vec<Duration> {
        self.0.iter().map(|stream| stream.longest_silence(since)).collect()
    }
}

/// Every guest and the host see each other as `see` waits for.
fn all_see(scene: &Scene, see: impl Fn(&Agent, &str) -> Result<()>) -> Result<()> {
    let host = &scene.host.agent;
    scene.guests.iter().try_for_each(|Player { agent, .. }| {
        see(agent, host.name())?;
        see(host, agent.name())
    })
}

fn direct(agent: &Agent, peer: &str) -> Result<()> {
    agent.wait_direct(peer, SETTLE).map(drop)
}

fn relayed(agent: &Agent, peer: &str) -> Result<()> {
    agent.wait_relayed(peer, SETTLE).map(drop)
}

/// A home to move to, as far from the internet as the others are.
fn another_home(scene: &mut Scene, nat: Nat) -> Result<Home> {
    let home = scene.lab.home(HomeSpec::new(nat))?;
    scene.lab.link(&home.router, &LinkSpec::delay(HOP_MS))?;
    Ok(home)
}

fn worst(silences: &[Duration]) -> Duration {
    silences.iter().max().copied().unwrap_or_default()
}

#[test]
fn moving_from_the_relay_to_the_direct_path_loses_nothing() -> Result<()> {
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::PortRestricted], HOP_MS)? else {
        return Ok(());
    };
    let (host, guest) = (&scene.host, &scene.guests[0]);
    for first_is_blocked in [true, false, true] {
        if first_is_blocked {
            fault::cut(&guest.home, host.home.wan, Cut::BothWays)?;
        }
        let to_host = Stream::start(guest.agent.netns(), host.agent.netns(), scene.host_ip.into(), 1000)?;
        guest.agent.join(&scene.invite)?;
        wait::until("packets to flow", SETTLE, || to_host.is_flowing().then_some(()))?;
        if first_is_blocked {
            all_see(&scene, relayed)?;
            to_host.run_on(500, SETTLE)?;
            fault::mend(&guest.home)?;
        }
        all_see(&scene, direct)?;
        to_host.run_on(1000, SETTLE)?;
        let outcome = to_host.finish()?;
        ensure!(outcome.lost == 0, "{outcome:?}\n{}", what_was_dropped(&[host, guest])?);
        let left = guest.agent.run(&["leave"])?;
        ensure!(left.code == 0, "leaving: {}", left.stderr);
        wait::until("Anna to be alone again", SETTLE, || {
            host.agent.peers().ok().filter(Vec::is_empty)
        })?;
    }
    Ok(())
}

/// The state of `players`, which tells what went no further and why, and their logs.
fn what_was_dropped(players: &[&Player]) -> Result<String> {
    let of = |player: &&Player| -> Result<String> {
        let status = player.agent.run(&["status", "--json"])?.stdout;
        Ok(format!("{}: {status}\n{}", player.agent.name(), player.agent.log()))
    };
    Ok(players.iter().map(of).collect::<Result<Vec<_>>>()?.join("\n"))
}

/// Cuts the direct paths of seven guests at once, once for each of `cuts`.
fn cut_and_mend(cuts: &[Cut]) -> Result<()> {
    const GUESTS: usize = 7;
    const LIMIT: Duration = Duration::from_secs(3);
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::PortRestricted; GUESTS], HOP_MS)? else {
        return Ok(());
    };
    let guests = scene.join_all()?;
    all_see(&scene, direct)?;
    let flows = Flows::start(&scene, &guests, 100)?;
    let mut all = Vec::new();
    let mut returns = Vec::new();
    for (round, which) in cuts.iter().enumerate() {
        let since = Instant::now();
        for guest in &scene.guests {
            fault::cut(&guest.home, scene.host.home.wan, *which)?;
        }
        all_see(&scene, relayed)?;
        flows.wait_until_flowing()?;
        all.extend(flows.silences(since));
        let mended = Instant::now();
        for guest in &scene.guests {
            fault::mend(&guest.home)?;
        }
        // What fell silent for the third time in a few minutes is let be for half a minute.
        if round < 2 {
            all_see(&scene, direct)?;
            returns.push(mended.elapsed());
        }
        flows.wait_until_flowing()?;
        let silences = flows.silences(mended);
        ensure!(
            worst(&silences) < Duration::from_secs(2),
            "on the way back: {silences:?}"
        );
    }
    all.sort();
    eprintln!("{cuts:?}: silences {all:?}, back to direct after {returns:?}");
    ensure!(worst(&all) <= LIMIT, "{:?} without packets: {all:?}", worst(&all));
    Ok(())
}

#[test]
fn a_direct_path_cut_both_ways_is_left_within_three_seconds() -> Result<()> {
    cut_and_mend(&[Cut::BothWays; 3])
}

#[test]
fn a_direct_path_cut_one_way_is_left_within_three_seconds() -> Result<()> {
    cut_and_mend(&[Cut::Leaving, Cut::Arriving, Cut::Leaving])
}

/// A host behind a symmetric NAT whom one guest reaches directly, one through the relay, and one through the relay over TCP.
/// Something happens to them, `rounds` times, after which packets may stay away for two seconds; in the end the ways are what
/// they were. There is another home of the same kind for every guest.
fn disturb(rounds: usize, what: impl Fn(&Scene, &[Home], usize) -> Result<()>) -> Result<()> {
    disturb_for(Duration::from_secs(2), rounds, what)
}

/// The same with another limit.
fn disturb_for(limit: Duration, rounds: usize, disturb: impl Fn(&Scene, &[Home], usize) -> Result<()>) -> Result<()> {
    const GUESTS: [Nat; 3] = [Nat::AddressRestricted, Nat::Symmetric, Nat::UdpBlocked];
    let Some(mut scene) = Scene::for_test(Nat::Symmetric, &GUESTS, HOP_MS)? else {
        return Ok(());
    };
    let elsewhere: Result<Vec<Home>> = GUESTS.into_iter().map(|nat| another_home(&mut scene, nat)).collect();
    let elsewhere = elsewhere?;
    let guests = scene.join_all()?;
    let host = &scene.host.agent;
    let as_it_should = || {
        scene
            .guests
            .iter()
            .zip([direct, relayed, relayed])
            .try_for_each(|(guest, see)| {
                see(&guest.agent, host.name())?;
                see(host, guest.agent.name())
            })
    };
    as_it_should()?;
    let flows = Flows::start(&scene, &guests, 200)?;
    let logs = || {
        let players = std::iter::once(&scene.host).chain(&scene.guests);
        let logs = players.map(|player| format!("{}'s log:\n{}", player.agent.name(), player.agent.log()));
        logs.collect::<Vec<_>>().join("\n")
    };
    let mut all = Vec::new();
    for round in 0..rounds {
        wait::until("a quiet second", SETTLE, || {
            let since = Instant::now().checked_sub(Duration::from_secs(1))?;
            (worst(&flows.silences(since)) < Duration::from_millis(200)).then_some(())
        })
        .with_context(logs)?;
        disturb(&scene, &elsewhere, round)?;
        let since = Instant::now();
        wait::until("packets to flow again", SETTLE, || {
            let all = flows.0.iter().all(Stream::is_flowing);
            (all && since.elapsed() > limit).then_some(())
        })
        .with_context(logs)?;
        all.extend(flows.silences(since));
    }
    eprintln!("silences {all:?}");
    // Longer than it takes to give up a path that is dead.
    flows.0[0].run_on(200 * 4, SETTLE)?;
    as_it_should()?;
    ensure!(
        worst(&all) <= limit,
        "{:?} without packets: {all:?}; {}",
        worst(&all),
        logs()
    );
    Ok(())
}

#[test]
fn a_pc_that_gets_another_address_is_back_within_two_seconds() -> Result<()> {
    disturb(3, |scene, _, round| {
        let last = [60, 70][round % 2];
        scene
            .guests
            .iter()
            .try_for_each(|guest| fault::change_lan_address(&guest.home, last))
    })
}

#[test]
fn a_router_that_forgets_its_mappings_stops_packets_for_less_than_two_seconds() -> Result<()> {
    disturb(3, |scene, _, _| fault::forget_mappings(&scene.host.home.router))
}

#[test]
fn pcs_that_wake_up_are_back_within_two_seconds() -> Result<()> {
    /// Longer than anybody waits for them: peers give up a path after 3 s, and relays and the control server a session after
    /// 30 s.
    const SLEEP: Duration = Duration::from_secs(60);
    disturb(1, |scene, _, _| {
        scene.guests.iter().for_each(|guest| guest.agent.freeze());
        go_by("the PCs to have slept", SLEEP)?;
        scene.guests.iter().for_each(|guest| guest.agent.thaw());
        Ok(())
    })
}

/// Waits until so much time went by.
fn go_by(what: &str, time: Duration) -> Result<()> {
    let since = Instant::now();
    wait::until(what, time * 2, || (since.elapsed() >= time).then_some(()))
}

#[test]
fn a_pc_behind_another_router_with_the_same_address_is_back_within_two_seconds() -> Result<()> {
    disturb(2, |scene, elsewhere, round| {
        scene.guests.iter().zip(elsewhere).try_for_each(|(guest, other)| {
            let (from, to) = [(&guest.home, other), (other, &guest.home)][round % 2];
            fault::roam(&guest.home, from, to)
        })
    })
}

#[test]
fn after_twenty_seconds_without_internet_packets_are_back_within_three() -> Result<()> {
    const OUTAGE: Duration = Duration::from_secs(20);
    // Over TCP it takes a PC two seconds to find out that there is a network again, and to have a session through it.
    const LIMIT: Duration = Duration::from_secs(3);
    disturb_for(LIMIT, 1, |scene, _, _| {
        let homes = || scene.guests.iter().map(|guest| &guest.home);
        homes().try_for_each(fault::cut_off)?;
        go_by("the outage to be long enough", OUTAGE)?;
        homes().try_for_each(fault::mend)
    })
}

#[test]
fn a_pc_that_comes_to_a_network_without_udp_goes_on_over_tcp_and_back_to_udp_when_it_leaves() -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(3);
    let Some(mut scene) = Scene::for_test(Nat::Symmetric, &[Nat::AddressRestricted, Nat::Symmetric], HOP_MS)? else {
        return Ok(());
    };
    let elsewhere = [Nat::UdpBlocked; 2].map(|nat| another_home(&mut scene, nat));
    let elsewhere = elsewhere.into_iter().collect::<Result<Vec<Home>>>()?;
    let guests = scene.join_all()?;
    let host = &scene.host.agent;
    direct(&scene.guests[0].agent, host.name())?;
    relayed(&scene.guests[1].agent, host.name())?;
    let flows = Flows::start(&scene, &guests, 200)?;
    let is_over = |transport: &str| {
        let log = format!("transport={transport}");
        wait::until(&format!("sessions with the relay over {transport}"), SETTLE, || {
            let last = |guest: &Player| {
                let text = guest.agent.log();
                let line = text.lines().rfind(|line| line.contains("connected to a relay"));
                line.is_some_and(|line| line.contains(&log))
            };
            scene.guests.iter().all(last).then_some(())
        })
    };
    is_over("Quic")?;
    for (there, transport) in [(true, "Tcp"), (false, "Quic")] {
        for (guest, other) in scene.guests.iter().zip(&elsewhere) {
            let (from, to) = if there {
                (&guest.home, other)
            } else {
                (other, &guest.home)
            };
            fault::roam(&guest.home, from, to)?;
        }
        let since = Instant::now();
        go_by("packets to flow again", LIMIT)?;
        flows.wait_until_flowing()?;
        let silences = flows.silences(since);
        eprintln!("to a network with {transport}: silences {silences:?}");
        ensure!(
            worst(&silences) <= LIMIT,
            "{silences:?}; {}",
            scene.guests[0].agent.log()
        );
        is_over(transport)?;
    }
    direct(&scene.guests[0].agent, host.name())
}
