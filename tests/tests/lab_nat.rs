//! The lab is what it claims to be, and the homes it builds connect as their NATs allow.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::address::{SERVER, SERVER6};
use lanrage_tests::lab::ping::Pinger;
use lanrage_tests::lab::probe::{self, ProbeServer};
use lanrage_tests::lab::traffic::{self, Stream};
use lanrage_tests::lab::{HomeSpec, Kind, Lab, LinkSpec, Nat, matrix, verify, wait};

#[test]
fn every_kind_of_nat_is_what_its_name_says() -> Result<()> {
    let Some(lab) = Lab::for_test()? else { return Ok(()) };
    drop(lab);
    let verdicts = verify::verify(&verify::all_kinds())?;
    let wrong: Vec<_> = verdicts.iter().filter(|verdict| !verdict.faults.is_empty()).collect();
    ensure!(wrong.is_empty(), "{}", verify::table(&verdicts));
    Ok(())
}

#[test]
fn every_pair_of_homes_connects_as_its_nats_allow() -> Result<()> {
    let Some(lab) = Lab::for_test()? else { return Ok(()) };
    drop(lab);
    let matrix = matrix::run(&matrix::all_kinds(), &|_| {})?;
    let faults = matrix.faults();
    ensure!(faults.is_empty(), "{}\n{}", matrix.table(), faults.join("\n"));
    Ok(())
}

#[test]
fn two_homes_of_one_provider_meet_only_where_it_hairpins() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else {
        return Ok(());
    };
    let server = ProbeServer::start(&lab.srv)?;
    for (nat, meet) in [(Nat::Hairpin, true), (Nat::PortRestricted, false)] {
        let isp = lab.isp(nat)?;
        let a = lab.home(HomeSpec::new(Nat::PortRestricted).behind(&isp))?;
        let b = lab.home(HomeSpec::new(Nat::PortRestricted).behind(&isp))?;
        ensure!(
            probe::punch(a.host(), b.host())? == meet,
            "behind a {nat} provider it should be {meet}"
        );
    }
    drop(server);
    Ok(())
}

#[test]
fn a_link_takes_as_long_and_loses_as_much_as_it_was_told() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let slow = lab.home(HomeSpec::new(Nat::Linux))?;
    let lossy = lab.home(HomeSpec::new(Nat::Linux))?;
    lab.link(&slow.router, &LinkSpec::delay(15.0))?;
    let spec = LinkSpec {
        loss: 10.0,
        ..LinkSpec::default()
    };
    lab.link(&lossy.router, &spec)?;

    let round_trip = Pinger::new(&slow.host().netns, SERVER)?.median(9)?;
    ensure!(
        (30..40).contains(&round_trip.as_millis()),
        "15 ms each way make {round_trip:?}"
    );

    // A lost ARP request stops everything for a second; that is no measure of the link.
    Pinger::new(&lossy.host().netns, SERVER)?.first_answer(Duration::from_millis(100), Duration::from_secs(10))?;
    let stream = Stream::start(&lossy.host().netns, &lab.srv, SERVER.into(), 2000)?;
    wait::until("2,000 packets", Duration::from_secs(10), || {
        (stream.sent() >= 2000).then_some(())
    })?;
    let outcome = stream.finish()?;
    let arrived = outcome.received as f64 / outcome.sent as f64;
    ensure!(
        (0.87..0.93).contains(&arrived),
        "10% loss, but of {} packets {} arrived",
        outcome.sent,
        outcome.received
    );
    Ok(())
}

#[test]
fn bulk_data_crosses_a_delayed_link_intact_and_fast() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let home = lab.home(HomeSpec::new(Nat::Linux))?;
    lab.link(&home.router, &LinkSpec::delay(1.0))?;
    let rate = traffic::transfer(&home.host().netns, &lab.srv, SERVER.into(), 50_000_000)?;
    ensure!(rate >= 200.0, "the shim carries only {rate:.0} Mbit/s");
    Ok(())
}

#[test]
fn ipv6_is_only_where_it_was_asked_for() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let with = lab.home(HomeSpec::new(Kind::ipv6()))?;
    let without = lab.home(HomeSpec::new(Nat::PortRestricted))?;
    let rate = traffic::transfer(&with.host().netns, &lab.srv, IpAddr::V6(SERVER6), 1_000_000)?;
    ensure!(rate > 0.0, "no IPv6 where there should be");
    let connected = without.host().netns.within(|| {
        let socket = UdpSocket::bind("[::]:0")?;
        socket.connect((SERVER6, 9))
    })?;
    ensure!(connected.is_err(), "a home without IPv6 has a way to {SERVER6}");
    Ok(())
}

#[test]
fn a_lab_leaves_nothing_behind() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let home = lab.home(HomeSpec::new(Kind::upnp(Nat::PortRestricted)))?;
    lab.link(&home.router, &LinkSpec::delay(1.0))?;
    let (prefix, dir) = (lab.prefix().to_owned(), lab.dir().to_owned());
    let before: BTreeSet<String> = lanrage_tests::lab::sweep::existing(&prefix).into_iter().collect();
    ensure!(before.len() >= 5, "the lab's namespaces: {before:?}");
    drop(lab);
    let left = lanrage_tests::lab::sweep::existing(&prefix);
    ensure!(
        left.is_empty() && !dir.exists(),
        "left behind: {left:?} {}",
        dir.display()
    );
    Ok(())
}
