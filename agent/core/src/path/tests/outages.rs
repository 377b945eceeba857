//! Lines that break and come back, and what is learned from it.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// How long it takes until both reach each other, after a line of nothing for so long.
fn back_after(net: &mut Net, outage: Duration) -> Duration {
    let relay = net.relay_delay.take();
    net.cut = true;
    net.play(outage, |_| ());
    (net.cut, net.relay_delay) = (false, relay);
    let back = net.now;
    while !(net.delivers(0) && net.delivers(1)) {
        net.play(Duration::from_millis(50), |_| ());
        assert!(net.now < back + 60 * SECOND, "never after {outage:?}");
    }
    net.now - back
}

#[test]
fn after_an_outage_of_any_length_the_relay_is_in_use_within_two_seconds() {
    for seconds in [2, 5, 12, 20, 29] {
        let mut net = net(false);
        net.deaf = [true; 2];
        net.relay(Duration::from_millis(15));
        net.introduce();
        net.play(10 * SECOND, |_| ());
        let took = back_after(&mut net, seconds * SECOND);
        assert!(took <= 2 * SECOND, "{took:?} after {seconds} s");
    }
}

#[test]
fn after_an_outage_of_any_length_a_direct_path_is_back_within_two_seconds_by_itself() {
    for seconds in [2, 5, 12, 20, 40, 600] {
        let mut net = net(true);
        net.introduce();
        net.play(10 * SECOND, |_| ());
        assert!(net.is_direct());
        let took = back_after(&mut net, seconds * SECOND);
        assert!(took <= 2 * SECOND, "{took:?} after {seconds} s");
    }
}

#[test]
fn a_peer_that_was_never_reached_is_sought_on_and_one_said_to_be_away_less_often() {
    let mut net = net(true);
    net.cut = true;
    net.introduce();
    net.play(60 * SECOND, |_| ());
    net.sent = 0;
    net.play(60 * SECOND, |_| ());
    assert!((80..=130).contains(&net.sent), "{} probes", net.sent);
    net.sides.iter_mut().for_each(|side| side.paths.handle_away(true));
    net.sent = 0;
    net.play(60 * SECOND, |_| ());
    assert!((6..=14).contains(&net.sent), "{} probes", net.sent);
    net.sides.iter_mut().for_each(|side| side.paths.handle_away(false));
    net.cut = false;
    assert!(net.run_until(net.after(2500), Net::is_direct));
}

#[test]
fn a_relay_that_does_not_know_the_peer_is_not_asked_all_the_time() {
    let mut net = net(false);
    net.relay(Duration::from_millis(15));
    net.relay_delay = None;
    net.sent = 0;
    for _ in 0..60 {
        net.run_until(net.after(1000), |_| false);
        let now = net.now;
        net.sides[0].paths.handle_undelivered(RelayNumber(0), now);
        net.sides[1].paths.handle_undelivered(RelayNumber(0), now);
    }
    net.sent = 0;
    net.run_until(net.after(60_000), |_| false);
    assert!(net.sent <= 6, "{} probes", net.sent);
}

#[test]
fn a_glitch_of_seconds_is_one_loss_and_no_reason_to_leave_a_good_path() {
    let mut net = net(false);
    net.relay(Duration::from_millis(12));
    net.introduce();
    net.play(60 * SECOND, |_| ());
    net.cut = true;
    net.play(Duration::from_millis(2500), |_| ());
    net.cut = false;
    net.play(30 * SECOND, |_| ());
    assert!(net.is_direct());
    let quality = net.sides[0].paths.selected().unwrap().quality.unwrap();
    assert!(quality.loss_percent <= 2.0, "{quality:?}");
}

#[test]
fn what_is_lost_all_the_time_is_counted_as_it_is() {
    let mut net = net(false);
    net.introduce();
    net.play(5 * SECOND, |_| ());
    for second in 0..200 {
        // One probe a second is due; every tenth second nothing gets through.
        net.cut = second % 10 == 0;
        net.play(SECOND, |_| ());
    }
    let quality = net.sides[0].paths.selected().unwrap().quality.unwrap();
    assert!((7.0..=13.0).contains(&quality.loss_percent), "{quality:?}");
}

#[test]
fn a_peer_that_forges_its_source_has_few_probes_reflected() {
    let mut net = net(false);
    let victim = Route::from("198.51.100.9:9".parse::<SocketAddr>().unwrap());
    let mut reflected = 0;
    for _ in 0..1000 {
        let [asked, asking] = &mut net.sides;
        let mut cx = Net::cx(&mut asking.rng, net.now, net.start);
        asking
            .paths
            .transmit(ProbeKind::Ping, asked.address.into(), 1, Generation::New, &mut cx);
        let ping = asking.paths.poll_transmit().unwrap();
        let mut cx = Net::cx(&mut asked.rng, net.now, net.start);
        assert!(asked.paths.handle_probe(victim, &ping.data, &mut cx));
        asked.paths.handle_timeout(&mut cx);
        while let Some(sent) = asked.paths.poll_transmit() {
            reflected += usize::from(sent.peer == victim);
        }
        net.now = net.after(10);
    }
    // Ten seconds, five answers and at most five probes of our own in each.
    assert!(reflected <= 100, "{reflected}");
}

#[test]
fn a_peer_that_comes_back_finds_what_was_learned() {
    let mut net = net(true);
    net.introduce();
    assert!(net.run_until(net.after(1000), Net::connected));
    let paths = &mut net.sides[0].paths;
    paths.handle_game(Some(3 * SECOND));
    net.run_until(net.after(60_000), |_| false);
    let before = kept(&net);
    assert!(before.1.sent > 10);
    net.sides[0].paths.search_afresh();
    assert_eq!(kept(&net), before);
}

/// Names the other's address every three seconds, as signals do while a relay is in use, and counts what is sent directly.
fn named_for(net: &mut Net, duration: Duration) -> usize {
    let (end, mut direct) = (net.now + duration, 0);
    let probes = |net: &Net| net.sent_directly;
    while net.now < end {
        let before = probes(net);
        net.introduce();
        net.play(3 * SECOND, |_| ());
        direct += probes(net) - before;
    }
    direct
}

#[test]
fn an_address_that_fails_again_and_again_is_let_be_for_longer_and_longer() {
    let mut net = net(false);
    net.cut = true;
    net.relay(Duration::from_millis(15));
    let (first, later) = (named_for(&mut net, 120 * SECOND), named_for(&mut net, 1200 * SECOND));
    assert!(first > 100, "{first}");
    assert!(later < 4 * first, "{later} probes in ten times as long as {first}");

    net.sides.iter_mut().for_each(|side| side.paths.handle_network_change());
    net.cut = false;
    net.introduce();
    assert!(
        net.run_until(net.after(1000), Net::is_direct),
        "another network, another chance"
    );
}

#[test]
fn an_address_that_fails_is_the_only_way_without_a_relay_and_tried_on() {
    let mut net = net(false);
    net.cut = true;
    net.relay(Duration::from_millis(15));
    named_for(&mut net, 600 * SECOND);
    net.cut = false;
    let now = net.now;
    for side in &mut net.sides {
        side.paths.handle_relay_lost(RelayNumber(0), now);
    }
    net.introduce();
    assert!(net.run_until(net.after(2000), Net::is_direct));
}

#[test]
fn a_direct_path_that_falls_silent_again_and_again_is_left_for_the_relay_for_a_while() {
    let mut net = net(false);
    net.relay(Duration::from_millis(15));
    net.introduce();
    net.play(5 * SECOND, |_| ());
    for _ in 0..3 {
        assert!(net.is_direct());
        net.cut = true;
        net.play(5 * SECOND, |_| ());
        net.cut = false;
        net.introduce();
        net.play(5 * SECOND, |net| assert!(net.connected()));
    }
    assert!(!net.is_direct(), "the third time was one too many");
    let left = net.sides[0].paths.left_for_relay();
    assert!(left.is_some_and(|left| left.direct.loss_percent < 5.0), "{left:?}");
    net.play(30 * SECOND, |_| ());
    assert!(net.is_direct());
}

#[test]
fn a_path_in_the_local_network_is_asked_seldom_while_idle_and_found_dead_when_packets_flow() {
    let mut net = net(false);
    for i in 0..2 {
        net.sides[1 - i].address = SocketAddr::from(([192, 168, 1, 8 - i as u8], 4000));
        let address = net.sides[1 - i].address;
        let candidate = Candidate {
            kind: CandidateKind::Lan,
            address,
        };
        net.sides[i].paths.handle_candidates(&[candidate], net.now);
    }
    net.run_until(net.after(10_000), |_| false);
    assert!(net.is_direct());
    net.sent = 0;
    net.run_until(net.after(3_600_000), |_| false);
    // Twelve an hour from each side, and the answers.
    assert!((44..=48).contains(&net.sent), "{}", net.sent);
    net.relay(Duration::from_millis(15));
    net.cut = true;
    net.run_until(net.after(20_000), |_| false);
    net.play(Duration::from_millis(1500), |_| ());
    assert!(
        net.delivers(0) && net.delivers(1),
        "within two seconds of the first packet"
    );
}
