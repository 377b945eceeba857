//! Ways through symmetric NATs to strict ones, by guessing ports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::netns::Netns;
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::{Nat, wait};

/// One way from a home to the internet, in ms: four of them make the 20 ms between two players.
const HOP_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);

#[test]
fn ports_given_out_in_a_row_are_guessed_in_nine_of_ten_tries() -> Result<()> {
    const GUESTS: usize = 5;
    const TRIES: usize = 2 * GUESTS;
    const LIMIT: Duration = Duration::from_secs(10);
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::Sequential; GUESTS], HOP_MS)? else {
        return Ok(());
    };
    let anna = &scene.host.agent;
    let mut direct = Vec::new();
    for round in 1..=2 {
        for guest in scene.guests.iter().map(|guest| &guest.agent) {
            guest.join(&scene.invite)?;
            let start = Instant::now();
            let both = guest
                .wait_direct("Anna", LIMIT)
                .and_then(|_| anna.wait_direct(guest.name(), LIMIT));
            match both {
                Ok(_) => {
                    direct.push(start.elapsed());
                    let mut pinger = Pinger::new(guest.netns(), scene.host_ip)?;
                    pinger.first_answer(Duration::from_millis(50), SETTLE)?;
                }
                Err(error) => eprintln!("round {round}, {}: {error:#}", guest.name()),
            }
            let left = guest.run(&["leave"])?;
            ensure!(left.code == 0, "leaving: {}", left.stderr);
            wait::until("Anna to be alone again", SETTLE, || {
                anna.peers().ok().filter(Vec::is_empty)
            })?;
        }
    }
    direct.sort();
    eprintln!("direct after {direct:?}");
    ensure!(
        direct.len() * 10 >= TRIES * 9,
        "direct in {} of {TRIES} tries",
        direct.len()
    );
    Ok(())
}

#[test]
fn random_ports_are_searched_at_a_pace_that_a_router_bears() -> Result<()> {
    /// What LANrage never goes beyond, and a little for what else crosses the router: DNS, STUN, the control server.
    const MAX_NEW_FLOWS: usize = 64 + 6;
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::Symmetric], HOP_MS)? else {
        return Ok(());
    };
    let (anna, ben) = (&scene.host, &scene.guests[0]);
    let over = AtomicBool::new(false);
    let (found, peaks) = std::thread::scope(|scope| {
        let counts = [&anna.home.router, &ben.home.router].map(|router| scope.spawn(|| most_new_flows(router, &over)));
        let found = (|| {
            ben.agent.join(&scene.invite)?;
            ben.agent.wait_relayed("Anna", SETTLE)?;
            let start = Instant::now();
            // Two attempts: the first fails in three of a hundred.
            ben.agent.wait_direct("Anna", Duration::from_secs(60))?;
            Ok::<_, anyhow::Error>(start.elapsed())
        })();
        over.store(true, Ordering::Relaxed);
        (found, counts.map(|count| count.join()))
    });
    let found = found?;
    let mut pinger = Pinger::new(ben.agent.netns(), scene.host_ip)?;
    pinger.first_answer(Duration::from_millis(50), SETTLE)?;
    for peak in peaks {
        let peak = peak.map_err(|_| anyhow::anyhow!("a counter died"))??;
        eprintln!("direct after {found:?}; at most {peak} new flows in a second at a router");
        ensure!(peak <= MAX_NEW_FLOWS, "{peak} new flows within a second");
    }
    Ok(())
}

/// The most flows a router came to know within a second, looked at five times a second.
fn most_new_flows(router: &Netns, over: &AtomicBool) -> Result<usize> {
    let mut counts: Vec<(Instant, usize)> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let count = router.run("conntrack", &["-C"])?;
        counts.push((
            Instant::now(),
            count.trim().parse().context("conntrack -C prints a number")?,
        ));
        std::thread::sleep(Duration::from_millis(200));
    }
    let within = |(at, count): &(Instant, usize)| {
        let second = counts
            .iter()
            .filter(|(other, _)| other >= at && *other <= *at + Duration::from_secs(1));
        second.map(|(_, later)| later.saturating_sub(*count)).max()
    };
    Ok(counts.iter().filter_map(within).max().unwrap_or(0))
}
