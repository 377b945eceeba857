//! Parties of real agents: how fast one joins, how many fit, and what they do while the control server is away.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::address::SERVER2;
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::control::Control;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::relay::Relay;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::traffic::Stream;
use lanrage_tests::lab::{HomeSpec, Lab, LinkSpec, Nat, wait};

const DIRECT: Duration = Duration::from_secs(10);

/// Two port-restricted homes, 20 ms apart, whose agents are up. The first hosts a party.
struct Pair {
    lab: Lab,
    control: Control,
    anna: Agent,
    anna_ip: Ipv4Addr,
    ben: Agent,
    invite: String,
}

fn pair() -> Result<Option<Pair>> {
    let Some(mut lab) = Lab::for_test()? else {
        return Ok(None);
    };
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let home = lab.home(HomeSpec::new(Nat::PortRestricted))?;
        lab.link(&home.router, &LinkSpec::delay(5.0))?;
        hosts.push(home.host().netns.clone());
    }
    let control = Control::start(&lab.srv, lab.dir())?;
    let anna = Agent::up(&hosts[0], "Anna", lab.dir())?;
    let ben = Agent::up(&hosts[1], "Ben", lab.dir())?;
    let hosted = anna.host(&control.link, "party")?;
    Ok(Some(Pair {
        lab,
        control,
        anna,
        anna_ip: hosted.virtual_ip,
        ben,
        invite: hosted.invite.context("no invite")?,
    }))
}

#[test]
fn the_first_ping_comes_through_within_a_second_of_join() -> Result<()> {
    const JOINS: usize = 20;
    let Some(pair) = pair()? else { return Ok(()) };
    let mut times = Vec::new();
    for _ in 0..JOINS {
        let mut pinger = Pinger::new(pair.ben.netns(), pair.anna_ip)?;
        let start = Instant::now();
        let (joined, answered) = std::thread::scope(|scope| {
            let pings = scope.spawn(|| {
                let answer = pinger.first_answer(Duration::from_millis(25), Duration::from_secs(10));
                answer.map(|_| start.elapsed())
            });
            (pair.ben.join(&pair.invite), pings.join())
        });
        joined?;
        times.push(
            answered
                .map_err(|_| anyhow::anyhow!("the pinger died"))?
                .with_context(|| {
                    format!(
                        "Ben sees {:?}; Ben's log:\n{}\nAnna's log:\n{}",
                        pair.ben.peers(),
                        pair.ben.log(),
                        pair.anna.log()
                    )
                })?,
        );
        let left = pair.ben.run(&["leave"])?;
        ensure!(left.code == 0, "leaving: {}", left.stderr);
        wait::until("Anna to be alone again", DIRECT, || {
            pair.anna.peers().ok().filter(Vec::is_empty)
        })?;
    }
    times.sort();
    let (p50, p95) = (times[JOINS / 2 - 1], times[JOINS * 95 / 100 - 1]);
    println!("join to first ping: p50 {p50:.0?}, p95 {p95:.0?} over {JOINS} joins");
    ensure!(
        p95 <= Duration::from_secs(1),
        "p95 of {JOINS} joins is {p95:?}: {times:?}"
    );
    Ok(())
}

#[test]
fn a_running_tunnel_loses_nothing_when_looked_at_anew_or_when_the_control_server_is_killed() -> Result<()> {
    let Some(mut pair) = pair()? else { return Ok(()) };
    pair.ben.join(&pair.invite)?;
    pair.ben.wait_direct("Anna", DIRECT)?;
    pair.anna.wait_direct("Ben", DIRECT)?;

    let stream = Stream::start(pair.ben.netns(), pair.anna.netns(), pair.anna_ip.into(), 1000)?;
    let run_on = |packets: u64| {
        let goal = stream.sent() + packets;
        wait::until("the stream to run on", Duration::from_secs(30), || {
            (stream.sent() >= goal).then_some(())
        })
    };
    run_on(1000)?;
    let refreshed = pair.ben.run(&["refresh"])?;
    ensure!(refreshed.code == 0, "{refreshed:?}");
    run_on(2000)?;
    pair.control.kill();
    wait::until("Ben to notice", Duration::from_secs(60), || {
        pair.ben.status().ok().filter(|status| !status.server.reachable)
    })?;
    run_on(2000)?;
    pair.control.restart()?;
    for agent in [&pair.anna, &pair.ben] {
        wait::until("an agent to come back by itself", Duration::from_secs(40), || {
            agent.status().ok().filter(|status| status.server.reachable)
        })?;
    }
    run_on(1000)?;
    let outcome = stream.finish()?;
    ensure!(
        outcome.received == outcome.sent,
        "{} of {} lost: {outcome:?}",
        outcome.sent - outcome.received,
        outcome.sent
    );
    Ok(())
}

#[test]
fn an_agent_restarted_while_the_control_server_is_down_reconnects() -> Result<()> {
    const TRIALS: usize = 5;
    let Some(mut pair) = pair()? else { return Ok(()) };
    pair.ben.join(&pair.invite)?;
    pair.ben.wait_direct("Anna", DIRECT)?;
    pair.anna.wait_direct("Ben", DIRECT)?;
    pair.control.kill();

    for trial in 1..=TRIALS {
        let took = restart(&mut pair.ben, pair.anna_ip)?;
        eprintln!("trial {trial}: back after {took:?}");
        ensure!(!pair.ben.status()?.server.reachable, "the server should be down");
        // The next crash comes when the way is known again.
        pair.ben.wait_direct("Anna", DIRECT)?;
    }
    drop(pair.lab);
    Ok(())
}

#[test]
fn an_agent_restarted_while_the_control_server_is_down_goes_back_to_its_relay() -> Result<()> {
    const TRIALS: usize = 5;
    const RELAY: &str = "elsewhere";
    let Some(mut scene) = Scene::for_test(Nat::Symmetric, &[Nat::Symmetric], 5.0)? else {
        return Ok(());
    };
    let _relay = Relay::start(&scene.control, &scene.lab.srv2, SERVER2, 4443, RELAY, scene.lab.dir())?;
    scene.join_all()?;
    let (anna, ben) = (&scene.host.agent, &scene.guests[0].agent);
    for agent in [anna, ben] {
        wait::until("a session with the other relay", DIRECT, || {
            agent.is_connected_to(RELAY).ok()?.then_some(())
        })?;
    }
    // The control server takes its own relay with it.
    scene.control.kill();
    // Whoever says nothing does not notice.
    let mut pinger = Pinger::new(ben.netns(), scene.host_ip)?;
    wait::until("packets to take the relay that is left", DIRECT, || {
        let _ = pinger.ping(Duration::from_millis(200));
        let through = |agent: &Agent, peer: &str| agent.peer(peer).ok()??.path.relay;
        let ways = [through(ben, "Anna")?, through(anna, ben.name())?];
        ways.iter().all(|relay| relay == RELAY).then_some(())
    })?;

    for trial in 1..=TRIALS {
        let ben = &mut scene.guests[0].agent;
        let took = restart(ben, scene.host_ip)?;
        eprintln!("trial {trial}: back after {took:?}");
        ensure!(!ben.status()?.server.reachable, "the server should be down");
        ben.wait_relayed_by(RELAY, "Anna", DIRECT)?;
    }
    Ok(())
}

/// Kills an agent and starts it again; how long until a peer answers, which must not be long.
fn restart(agent: &mut Agent, peer: Ipv4Addr) -> Result<Duration> {
    const LIMIT: Duration = Duration::from_secs(5);
    agent.kill();
    let mut pinger = Pinger::new(agent.netns(), peer)?;
    let start = Instant::now();
    agent.restart()?;
    pinger
        .first_answer(Duration::from_millis(50), Duration::from_secs(20))
        .with_context(|| format!("{} sees {:?}; its log:\n{}", agent.name(), agent.peers(), agent.log()))?;
    let took = start.elapsed();
    ensure!(took <= LIMIT, "back after {took:?}; its log:\n{}", agent.log());
    Ok(took)
}

#[test]
fn sixteen_members_have_addresses_of_their_own_and_all_reach_each_other() -> Result<()> {
    const MEMBERS: usize = 16;
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let kinds = [Nat::PortRestricted, Nat::FullCone, Nat::AddressRestricted, Nat::Open];
    let mut hosts = Vec::new();
    for index in 0..MEMBERS {
        hosts.push(
            lab.home(HomeSpec::new(kinds[index % kinds.len()]))?
                .host()
                .netns
                .clone(),
        );
    }
    let control = Control::start(&lab.srv, lab.dir())?;
    let agents: Vec<Agent> = std::thread::scope(|scope| {
        let start = |(index, host)| {
            let dir = lab.dir();
            scope.spawn(move || Agent::up(host, &format!("Member{index}"), dir))
        };
        let threads: Vec<_> = hosts.iter().enumerate().map(start).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?);
        joined.collect::<Result<_>>()
    })?;
    let invite = agents[0].host(&control.link, "sixteen")?.invite.context("no invite")?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = agents[1..]
            .iter()
            .map(|agent| scope.spawn(|| agent.join(&invite)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread died"))?.map(drop))
    })?;

    let addresses: Vec<Ipv4Addr> = agents
        .iter()
        .map(|agent| agent.status()?.virtual_ip.context("a member without address"))
        .collect::<Result<_>>()?;
    let distinct: BTreeSet<_> = addresses.iter().collect();
    ensure!(distinct.len() == MEMBERS, "two members share an address: {addresses:?}");
    for agent in &agents {
        let know_all = |peers: &Vec<_>| peers.len() == MEMBERS - 1;
        wait::until("everybody to know everybody", DIRECT, || {
            agent.peers().ok().filter(know_all)
        })?;
        for (peer, address) in agents.iter().zip(&addresses) {
            if peer.name() != agent.name() {
                Pinger::new(agent.netns(), *address)?
                    .first_answer(Duration::from_millis(100), DIRECT)
                    .with_context(|| format!("{} → {}: {:?}", agent.name(), peer.name(), agent.peer(peer.name())))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_server_that_was_away_hears_in_the_end_who_has_left() -> Result<()> {
    let Some(mut pair) = pair()? else { return Ok(()) };
    pair.ben.join(&pair.invite)?;
    pair.ben.wait_direct("Anna", DIRECT)?;
    pair.control.kill();
    let left = pair.ben.run(&["leave"])?;
    ensure!(left.code == 0, "{left:?}");
    pair.ben.restart()?;
    pair.control.restart()?;
    wait::until("Ben to be gone from the party", Duration::from_secs(30), || {
        let peers = pair.anna.peers().ok()?;
        peers.iter().all(|peer| peer.name != "Ben").then_some(())
    })?;
    let joined_again = pair.ben.join(&pair.invite)?;
    ensure!(joined_again.virtual_ip != pair.anna_ip, "two members share an address");
    pair.ben.wait_direct("Anna", DIRECT)?;
    Ok(())
}

#[test]
fn coming_back_at_once_does_not_change_what_the_nat_is_said_to_be() -> Result<()> {
    let Some(mut pair) = pair()? else { return Ok(()) };
    let measured = |agent: &Agent| {
        wait::until("the NAT to be measured", Duration::from_secs(10), || {
            let nat = agent.status().ok()?.nat;
            (nat.filtering != "unknown").then_some(nat.kind)
        })
    };
    for round in 0..3 {
        pair.ben.join(&pair.invite)?;
        let kind = measured(&pair.ben)?;
        ensure!(kind == "port-restricted", "round {round}: {kind}");
        if round == 1 {
            pair.ben.restart()?;
            let kind = measured(&pair.ben)?;
            ensure!(kind == "port-restricted", "after a restart: {kind}");
        }
        pair.ben.run(&["leave"])?;
    }
    Ok(())
}
