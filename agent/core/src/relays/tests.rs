use lanrage_shared::ids::Pin;

use super::*;

fn id(id: &str) -> RelayId {
    id.parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn s(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn relay(name: &str, region: &str, load: u8) -> Relay {
    Relay {
        id: id(name),
        region: region.into(),
        host: None,
        port: 4443,
        pin: Pin([0; 32]),
        load,
    }
}

fn broken() -> Trouble {
    Trouble::Unreachable("connection refused".into())
}

fn names(relays: &[Relay]) -> Vec<String> {
    relays.iter().map(|relay| relay.id.to_string()).collect()
}

/// A choice that is offered these relays and knows nothing of them yet.
fn fresh(device: u8, relays: &[(&str, u64)], now: Instant) -> RelayChoice {
    let mut choice = RelayChoice::new(DeviceId([device; 16]));
    choice.handle_offer(relays.iter().map(|(id, _)| relay(id, "", 0)).collect(), now);
    choice
}

/// The same, everything measured, and not offered just now.
fn choice(device: u8, relays: &[(&str, u64)], now: Instant) -> RelayChoice {
    let mut choice = fresh(device, relays, now.checked_sub(EARLY).unwrap());
    for (name, rtt) in relays {
        choice.handle_rtt(&id(name), ms(*rtt), now);
    }
    choice
}

fn used(choice: &mut RelayChoice, now: Instant) -> Vec<String> {
    names(&choice.wanted(&[], now).used)
}

/// Sessions stand one round trip and a half after they were begun; gives the largest number of them at any time.
fn measure(choice: &mut RelayChoice, relays: &[(&str, u64)], mut now: Instant, until: Instant) -> usize {
    let mut begun: BTreeMap<RelayId, Instant> = BTreeMap::new();
    let mut most = 0;
    while now < until {
        let wanted = choice.wanted(&[], now);
        begun.retain(|id, _| wanted.contains(id));
        for relay in wanted.used.iter().chain(&wanted.held) {
            begun.entry(relay.id.clone()).or_insert(now);
        }
        most = most.max(begun.len());
        for (name, rtt) in relays {
            if begun.get(&id(name)).is_some_and(|at| *at + ms(rtt + rtt / 2) <= now) {
                choice.handle_rtt(&id(name), ms(*rtt), now);
            }
        }
        now += ms(5);
    }
    most
}

#[test]
fn every_relay_is_measured_wherever_the_nearest_stands_in_the_offer() {
    let relays = [
        ("asia-1", 180),
        ("asia-2", 185),
        ("asia-3", 190),
        ("asia-4", 195),
        ("us-1", 110),
        ("us-2", 115),
        ("eu-1", 20),
        ("eu-2", 40),
    ];
    for device in 0..20 {
        let start = Instant::now();
        let mut choice = fresh(device, &relays, start);
        let most = measure(&mut choice, &relays, start, start + s(3));
        assert_eq!(used(&mut choice, start + s(3)), ["eu-1", "eu-2", "us-1", "us-2"]);
        assert!(most <= AT_FIRST + TRIED + LINGERING, "{most} sessions at once");
        assert!(choice.known().iter().all(|known| known.rtt.is_some()));
        assert_eq!(used(&mut choice, start + EARLY), ["eu-1", "eu-2"]);
        let settled = choice.wanted(&[], start + EARLY + LINGERS);
        assert_eq!(names(&settled.held), Vec::<String>::new());
    }
}

#[test]
fn relays_that_do_not_answer_hold_nobody_up() {
    let offered = [("a", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0), ("near", 0)];
    let start = Instant::now();
    let mut choice = fresh(1, &offered, start);
    measure(&mut choice, &[("near", 10)], start, start + s(31));
    assert_eq!(used(&mut choice, start + s(31))[0], "near");
}

#[test]
fn a_late_answer_moves_home_when_it_is_clearly_nearer() {
    let start = Instant::now();
    let mut choice = choice(1, &[("a", 180), ("b", 190)], start);
    assert_eq!(used(&mut choice, start), ["a", "b"]);
    let offer = ["a", "b", "c"].map(|name| relay(name, "", 0));
    choice.handle_offer(offer.into(), start + s(60));
    let wanted = choice.wanted(&[], start + s(60));
    assert_eq!(
        (names(&wanted.used), names(&wanted.held)),
        (vec!["a".into(), "b".into()], vec!["c".into()])
    );
    choice.handle_rtt(&id("c"), ms(20), start + s(70));
    let wanted = choice.wanted(&[], start + s(70));
    assert_eq!(names(&wanted.used), ["c", "a"]);
    assert_eq!(names(&wanted.held), ["b"], "packets may be on their way to it");
    assert_eq!(choice.next_change(start + s(70)), Some(start + s(70) + LINGERS));
    assert!(choice.wanted(&[], start + s(70) + LINGERS).held.is_empty());
}

#[test]
fn unused_relays_are_measured_again_now_and_then_and_on_another_network() {
    let relays = [("a", 10), ("b", 20), ("c", 300), ("d", 310)];
    let start = Instant::now();
    let mut choice = choice(1, &relays, start);
    assert!(choice.wanted(&[], start).held.is_empty());
    let later = choice.next_change(start).unwrap();
    assert_eq!(later, start + s(1800));
    assert_eq!(choice.wanted(&[], later).held.len(), 2);
    for name in ["c", "d"] {
        choice.handle_rtt(&id(name), ms(300), later);
    }
    assert!(choice.wanted(&[], later).held.is_empty());
    choice.handle_moved();
    let wanted = choice.wanted(&[], later);
    assert_eq!(
        (names(&wanted.used), wanted.held.len()),
        (vec!["a".into(), "b".into()], 2)
    );
}

#[test]
fn a_relay_that_fails_is_tried_ever_more_seldom() {
    let start = Instant::now();
    let mut choice = choice(1, &[("a", 10), ("b", 20), ("c", 30)], start);
    let mut now = start;
    let mut rests = Vec::new();
    for _ in 0..8 {
        choice.handle_failure(&id("c"), broken(), now);
        choice.wanted(&[], now);
        let next = choice.next_change(now).unwrap();
        rests.push((next - now).as_secs());
        now = next;
        assert_eq!(names(&choice.wanted(&[], now).held), ["c"]);
    }
    assert_eq!(rests, [30, 60, 120, 240, 480, 960, 960, 960]);
}

#[test]
fn home_and_spare_stay_until_another_is_clearly_better() {
    let now = Instant::now();
    let mut choice = choice(1, &[("a", 30), ("b", 50), ("c", 60)], now);
    assert_eq!(used(&mut choice, now), ["a", "b"]);
    choice.handle_rtt(&id("b"), ms(22), now);
    assert_eq!(used(&mut choice, now), ["a", "b"]);
    choice.handle_rtt(&id("b"), ms(15), now);
    assert_eq!(used(&mut choice, now), ["b", "a"]);
    choice.handle_rtt(&id("a"), ms(65), now);
    assert_eq!(used(&mut choice, now), ["b", "a"]);
    choice.handle_rtt(&id("a"), ms(75), now);
    assert_eq!(used(&mut choice, now), ["b", "c"]);
}

#[test]
fn a_relay_that_failed_is_in_use_again_only_after_it_answered() {
    let start = Instant::now();
    let mut choice = choice(1, &[("a", 10), ("b", 50), ("c", 60)], start);
    assert_eq!(used(&mut choice, start), ["a", "b"]);
    choice.handle_failure(&id("a"), broken(), start);
    assert_eq!(used(&mut choice, start), ["b", "c"]);
    let again = start + s(30);
    let wanted = choice.wanted(&[], again);
    assert_eq!(
        (names(&wanted.used), names(&wanted.held)),
        (vec!["b".into(), "c".into()], vec!["a".into()])
    );
    choice.handle_rtt(&id("a"), ms(10), again);
    assert_eq!(used(&mut choice, again), ["a", "b"]);
    for name in ["a", "b", "c"] {
        choice.handle_failure(&id(name), broken(), again);
    }
    assert_eq!(used(&mut choice, again), ["a", "b"], "without any other");
    choice.handle_offer(vec![], again);
    assert!(used(&mut choice, again).is_empty());
}

#[test]
fn a_draining_relay_keeps_its_session_for_packets_on_their_way() {
    let start = Instant::now();
    let mut choice = choice(1, &[("a", 10), ("b", 50), ("c", 60)], start);
    used(&mut choice, start);
    choice.handle_failure(&id("a"), Trouble::Draining, start);
    let wanted = choice.wanted(&[], start);
    assert_eq!(
        (names(&wanted.used), names(&wanted.held)),
        (vec!["b".into(), "c".into()], vec!["a".into()])
    );
}

#[test]
fn load_sends_newcomers_elsewhere_by_degrees_and_a_nearly_full_relay_loses_everybody() {
    let now = Instant::now();
    let loaded = |load| vec![relay("a", "", load), relay("b", "", 0)];
    let first_home = |load| {
        let mut choice = choice(1, &[("a", 20), ("b", 48)], now);
        choice.handle_offer(loaded(load), now);
        used(&mut choice, now)[0].clone()
    };
    assert_eq!([0, 50, 70, 85].map(first_home), ["a", "a", "a", "b"]);
    let mut settled = choice(1, &[("a", 20), ("b", 48)], now);
    let mut home_at = |load| {
        settled.handle_offer(loaded(load), now);
        used(&mut settled, now)[0].clone()
    };
    assert_eq!([0, 80, 90, 80].map(&mut home_at), ["a", "a", "b", "b"]);
}

#[test]
fn equals_share_the_devices_also_when_one_answers_first() {
    let now = Instant::now();
    let homes: Vec<String> = (0..100)
        .map(|device| {
            let relays = [("a", 20), ("b", 22)];
            let mut choice = fresh(device, &relays, now);
            measure(&mut choice, &relays, now, now + s(1));
            used(&mut choice, now + s(1)).swap_remove(0)
        })
        .collect();
    let at_a = homes.iter().filter(|home| *home == "a").count();
    assert!((30..=70).contains(&at_a), "{at_a} of 100");
}

#[test]
fn of_equals_those_in_the_region_of_the_nearest_are_preferred() {
    let now = Instant::now();
    for device in 0..20 {
        let mut choice = choice(device, &[("par-1", 23), ("fra-1", 20), ("fra-2", 24)], now);
        let offer = [("par-1", "eu-west"), ("fra-1", "eu-central"), ("fra-2", "eu-central")];
        choice.handle_offer(offer.map(|(name, region)| relay(name, region, 0)).into(), now);
        let mut used = used(&mut choice, now);
        used.sort();
        assert_eq!(used, ["fra-1", "fra-2"]);
    }
}

#[test]
fn a_relay_that_peers_need_is_wanted_too() {
    let now = Instant::now();
    let mut choice = choice(1, &[("a", 10), ("b", 20), ("c", 300)], now);
    let wanted = choice.wanted(&[id("b"), id("c"), id("gone")], now);
    assert_eq!(names(&wanted.used), ["a", "b", "c"]);
    let roles: Vec<Role> = choice.known().iter().map(|known| known.role).collect();
    assert_eq!(roles, [Role::Home, Role::Spare, Role::ForPeers]);
}

#[test]
fn the_first_choice_goes_by_the_distances_of_before_and_by_what_is_measured_later() {
    let start = Instant::now();
    let mut choice = RelayChoice::new(DeviceId([1; 16]));
    choice.handle_remembered(&[("b", 20), ("gone", 1)].map(|(name, rtt)| (id(name), ms(rtt))).into());
    choice.handle_offer(vec![relay("a", "", 0), relay("b", "", 0)], start);
    assert_eq!(used(&mut choice, start), ["b", "a"]);
    choice.handle_rtt(&id("a"), ms(10), start);
    choice.handle_rtt(&id("b"), ms(90), start);
    assert_eq!(used(&mut choice, start), ["a", "b"]);
}

#[test]
fn looking_anew_measures_all_again_and_gives_failed_ones_another_chance() {
    let start = Instant::now();
    let mut choice = choice(1, &[("a", 10), ("b", 50), ("c", 90)], start);
    choice.handle_failure(&id("a"), broken(), start);
    assert_eq!(used(&mut choice, start), ["b", "c"]);
    choice.handle_refresh(start);
    assert_eq!(used(&mut choice, start), ["a", "b"]);
    assert_eq!(names(&choice.wanted(&[], start).held), ["c"]);
}
