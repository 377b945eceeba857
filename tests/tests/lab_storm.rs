//! One member that sends to everybody as fast as it can: what that costs the others.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lanrage_tests::lab::discovery::{Asker, Listener, PORT, Servers, all_answer};
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::{Nat, wait};

const ONE_WAY_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);
/// The port the storm comes from: below those that the system gives out by itself.
const ASKS_FROM: u16 = 31_000;

/// Round trips of 200 pings in the 99th percentile.
fn p99(pinger: &mut Pinger) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..200 {
        times.push(pinger.ping(Duration::from_secs(1))?.unwrap_or(Duration::from_secs(1)));
    }
    times.sort();
    Ok(times[197])
}

/// A storm of broadcasts while `work` runs, once it is heard; how many were sent.
fn in_a_storm<T>(from: &Asker, heard: &Listener, work: impl FnOnce() -> Result<T>) -> Result<(u32, T)> {
    const PER_SECOND: u32 = 1000;
    let stop = AtomicBool::new(false);
    let before = heard.heard().len();
    std::thread::scope(|scope| {
        let raging = scope.spawn(|| -> Result<u32> {
            let (start, mut sent) = (Instant::now(), 0_u32);
            while !stop.load(Ordering::Relaxed) {
                let due = start + Duration::from_secs(1) / PER_SECOND * sent;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                from.send(Ipv4Addr::BROADCAST, PORT, format!("{before} {sent}").as_bytes())?;
                sent += 1;
            }
            Ok(sent)
        });
        let began = wait::until("the storm to be heard", SETTLE, || {
            (heard.heard().len() > before + 100).then_some(())
        });
        let done = began.and_then(|()| work());
        stop.store(true, Ordering::Relaxed);
        let sent = raging.join().map_err(|_| anyhow::anyhow!("a thread died"))??;
        Ok((sent, done?))
    })
}

#[test]
fn a_storm_costs_the_others_its_rate_limit_and_games_nothing() -> Result<()> {
    let guests = [Nat::PortRestricted, Nat::PortRestricted];
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &guests, ONE_WAY_MS)? else {
        return Ok(());
    };
    let addresses = scene.join_all()?;
    let host = &scene.host.agent;
    for guest in ["Ben1", "Ben2"] {
        host.wait_direct(guest, SETTLE)?;
    }
    all_answer(host.netns(), &addresses, SETTLE)?;
    let servers = Servers::start(scene.guests[1].agent.netns())?;
    let storm = Asker::bind(scene.guests[0].agent.netns(), Ipv4Addr::UNSPECIFIED, ASKS_FROM)?;
    let mut pinger = Pinger::new(host.netns(), addresses[1])?;
    let (first, mut all_sent) = (Instant::now(), 0);
    // Whatever else the machine does in one of the rounds is no storm's doing.
    for round in 1..=3 {
        let quiet = p99(&mut pinger)?;
        let (sent, stormy) = in_a_storm(&storm, &servers.broadcast, || p99(&mut pinger))?;
        all_sent += sent;
        let (heard, took) = (servers.broadcast.heard().len(), first.elapsed());
        let most = 256.0 + 128.0 * took.as_secs_f64();
        eprintln!(
            "{all_sent} sent, {heard} heard in {took:.1?}; p99 of the others' round trips {quiet:.2?}, in the storm {stormy:.2?}"
        );
        ensure!(
            heard as f64 <= most + 1.0,
            "{heard} of {all_sent} were heard, {most:.0} may be"
        );
        if stormy <= quiet + Duration::from_millis(2) {
            return Ok(());
        }
        ensure!(
            round < 3,
            "round trips of the others: p99 {quiet:?}, in the storm {stormy:?}"
        );
    }
    Ok(())
}
