//! What keeping idle paths open costs behind each kind of NAT, against one keepalive every 25 s.

use std::time::Duration;

use lanrage_shared::api::presence::{Filtering, Mapping};
use lanrage_sim::scenario::Home;
use lanrage_sim::{Idled, Scenario, idle};

const HOUR: Duration = Duration::from_secs(3600);
/// What one every 25 s costs in an hour.
const FIXED: u64 = 144;
const CONES: [(&str, Filtering); 3] = [
    ("full cone", Filtering::EndpointIndependent),
    ("address-restricted", Filtering::AddressDependent),
    ("port-restricted", Filtering::AddressAndPortDependent),
];

fn home(mapping: Mapping, filtering: Filtering, lifetime_s: u16) -> Home {
    Home {
        mapping,
        filtering,
        lifetime_s,
        delay_ms: 15,
        jitter_ms: 5,
        loss: 0,
        duplicated: 0,
        reordered: 0,
        random_ports: false,
    }
}

/// Two PCs behind routers of their own, who do not play.
fn pair(homes: [Home; 2]) -> Scenario {
    Scenario {
        seed: 1,
        relays: vec![10],
        busy_percent: 0,
        pcs: vec![0, 1],
        members: 2,
        homes: homes.to_vec(),
        steps: vec![],
    }
}

fn counts(idled: &Idled, pc: usize, kind: &str) -> (u64, u64) {
    let counts = idled.kept[pc][kind];
    (counts.sent, counts.lost)
}

#[test]
fn cone_nats_that_keep_mappings_for_two_minutes_cost_at_least_thirty_percent_less_than_a_fixed_pause() {
    for (kind, filtering) in CONES {
        let router = home(Mapping::EndpointIndependent, filtering, 120);
        let idled = idle(&pair([router; 2]), HOUR);
        for pc in 0..2 {
            let (sent, lost) = counts(&idled, pc, kind);
            println!("{kind}, pc {pc}: {sent} keepalives an hour, {FIXED} with a fixed pause; {lost} mappings lost");
            assert!(sent * 10 <= FIXED * 7, "{kind}: {sent} of {FIXED}");
            assert_eq!(lost, 0, "{kind}");
        }
        assert_eq!(idled.longest_gap, Duration::ZERO, "{kind}");
    }
}

#[test]
fn where_mappings_last_25_s_the_limit_is_found_without_harm_and_remembered() {
    for (kind, filtering) in CONES {
        let router = home(Mapping::EndpointIndependent, filtering, 25);
        let scenario = pair([router; 2]);
        let (one, two) = (idle(&scenario, HOUR), idle(&scenario, 2 * HOUR));
        for pc in 0..2 {
            let ((sent, lost), later) = (counts(&one, pc, kind), counts(&two, pc, kind));
            println!("{kind} of 25 s, pc {pc}: {sent} keepalives an hour, {lost} mappings lost, then {later:?}");
            assert!(lost <= 5, "{kind}: {lost}");
            assert_eq!(later.1, lost, "{kind}: it is not tried again");
        }
        assert!(
            two.longest_gap <= Duration::from_secs(4),
            "{kind}: {:?}",
            two.longest_gap
        );
    }
}

#[test]
fn a_symmetric_nat_starts_carefully_and_is_not_more_expensive_in_the_end() {
    let symmetric = home(
        Mapping::AddressAndPortDependent,
        Filtering::AddressAndPortDependent,
        120,
    );
    let cone = home(Mapping::EndpointIndependent, Filtering::AddressDependent, 120);
    let idled = idle(&pair([symmetric, cone]), HOUR);
    let (sent, lost) = counts(&idled, 0, "symmetric");
    println!("symmetric: {sent} keepalives an hour, {FIXED} with a fixed pause; {lost} mappings lost");
    assert!(sent <= FIXED && lost == 0, "{sent}, {lost}");
}
