//! `lanrage test-lan` and `lanrage latency`: what they find out is so.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage::api::LatenciesReport;
use lanrage_tests::lab::address::{SERVER, SERVER2};
use lanrage_tests::lab::discovery::{PORT, account, all_answer};
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::{Nat, wait};

const ONE_WAY_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);

#[test]
fn test_lan_says_who_hears_whom_and_where_the_rest_was_lost() -> Result<()> {
    let guests = [Nat::PortRestricted, Nat::UdpBlocked];
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &guests, ONE_WAY_MS)? else {
        return Ok(());
    };
    let addresses = scene.join_all()?;
    let host = &scene.host.agent;
    host.wait_direct("Ben1", SETTLE)?;
    host.wait_relayed("Ben2", SETTLE)?;
    all_answer(host.netns(), &addresses, SETTLE)?;
    all_answer(scene.guests[0].agent.netns(), &addresses[1..], SETTLE)?;
    for game in [&[][..], &["OpenArena"], &["minecraft-java"]] {
        let tested = host.run(&[&["test-lan"], game].concat())?;
        ensure!(
            tested.code == 0 && tested.stdout.contains("Everybody hears everybody."),
            "{game:?}: {tested:?}; {}",
            account(host)
        );
    }
    let unknown = host.run(&["test-lan", "no game at all"])?;
    ensure!(
        unknown.code == 1 && unknown.stderr.contains("lanrage games --all"),
        "{unknown:?}"
    );

    // A program that shares its port with nobody, a firewall, an agent that is gone.
    let [first, second] = [&scene.guests[0].agent, &scene.guests[1].agent];
    let greedy = wait::until("the port to be free after a test", Duration::from_secs(2), || {
        let bound = first
            .netns()
            .within(|| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)));
        bound.ok()?.ok()
    })?;
    second.netns().nft(
        "add table ip wall; add chain ip wall in { type filter hook input priority 0; }; \
         add rule ip wall in udp dport 27960 drop",
    )?;
    let tested = host.run(&["test-lan", "openarena"])?;
    for sentence in [
        "a program on Ben1's PC has port 27960 for itself",
        "it reached Ben2's PC, but programs there do not hear it",
    ] {
        ensure!(
            tested.code == 1 && tested.stdout.contains(sentence),
            "{sentence}: {tested:?}"
        );
    }
    drop(greedy);
    second.netns().nft("delete table ip wall")?;
    first.freeze();
    let tested = host.run(&["test-lan", "openarena"])?;
    first.thaw();
    ensure!(
        tested.code == 1 && tested.stdout.contains("Ben1's agent does not answer"),
        "{tested:?}"
    );
    Ok(())
}

#[test]
fn servers_outside_the_party_are_measured_by_ping_or_by_tcp() -> Result<()> {
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[] as &[Nat], ONE_WAY_MS)? else {
        return Ok(());
    };
    scene.lab.srv.nft(
        "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; }; \
         add rule ip deaf in icmp type echo-request drop",
    )?;
    let host = &scene.host.agent;
    let by_ping = SERVER2.to_string();
    let by_tcp = format!("{SERVER}:8443");
    for server in [&by_ping, &by_tcp] {
        let added = host.run(&["latency", "add", server])?;
        ensure!(added.code == 0, "{added:?}");
    }
    let measured = |server: &str| -> Option<(String, f64)> {
        let done = host.run(&["latency", "--json"]).ok()?;
        let report: LatenciesReport = serde_json::from_str(&done.stdout).ok()?;
        let found = report
            .servers
            .into_iter()
            .find(|found| String::from(found.server.clone()) == server)?;
        Some((found.measured_by?, found.rtt_ms?))
    };
    for (server, method) in [(&by_ping, "icmp"), (&by_tcp, "tcp")] {
        let (by, rtt) = wait::until("both to be measured", SETTLE, || measured(server))?;
        ensure!(
            by == method && (2.0 * ONE_WAY_MS..20.0 * ONE_WAY_MS).contains(&rtt),
            "{server}: {by}, {rtt} ms"
        );
    }
    Ok(())
}
