use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, Pin};
use lanrage_shared::signal::{Candidate, CandidateKind};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000_000;
const BEN: MemberId = MemberId(2);

fn member(id: MemberId, key: u8) -> Member {
    let identity_key = IdentityKey([key; 32]);
    Member {
        id,
        device: DeviceId::of(&identity_key),
        identity_key,
        device_key: DeviceKey([key; 32]),
        name: "Ben".parse().unwrap(),
        virtual_ip: [10, 64, 0, 2].into(),
        virtual_ip6: "fd00::2".parse().unwrap(),
        joined_at_ms: 0,
        online: true,
        last_seen_ms: 0,
        presence: None,
    }
}

fn candidate(port: u16) -> Candidate {
    Candidate {
        kind: CandidateKind::Mapped,
        address: ([203, 0, 113, 7], port).into(),
    }
}

fn way(key: u8, ports: &[u16], relays: &[&str]) -> Way {
    let proven = |port: &u16| Proven {
        candidate: candidate(*port),
        rtt_ms: 20,
        score: 90,
    };
    let seat = |relay: &&str| RelaySeat {
        relay: relay.parse().unwrap(),
        rtt_ms: 10,
    };
    Way {
        key: DeviceKey([key; 32]),
        addresses: ports.iter().map(proven).collect(),
        relays: relays.iter().map(seat).collect(),
    }
}

fn relay(id: &str, pin: u8) -> Relay {
    Relay {
        id: id.parse().unwrap(),
        region: "eu".into(),
        host: None,
        port: 4443,
        pin: Pin([pin; 32]),
        load: 0,
    }
}

fn names(relays: &[Relay]) -> Vec<&str> {
    relays.iter().map(|relay| relay.id.as_str()).collect()
}

#[test]
fn nothing_is_known_the_first_time() {
    let cache = ConnectionCache::default();
    assert!(cache.is_empty());
    assert_eq!(cache.remembered(&member(BEN, 2), NOW), Remembered::default());
    assert!(cache.relays(NOW).is_empty() && cache.rtts(NOW).is_empty());
}

#[test]
fn what_works_now_comes_before_what_worked_once() {
    let mut cache = ConnectionCache::default();
    assert!(cache.handle_way(BEN, way(2, &[1, 2], &["a"]), NOW));
    assert!(!cache.handle_way(BEN, way(2, &[1, 2], &["a"]), NOW + 1), "no news");
    assert!(cache.handle_way(BEN, way(2, &[3], &["b", "a"]), NOW + 2));

    let remembered = cache.remembered(&member(BEN, 2), NOW + 3);
    assert_eq!(remembered.addresses, [3, 1, 2].map(candidate));
    let relays: Vec<&str> = remembered.relays.iter().map(|seat| seat.relay.as_str()).collect();
    assert_eq!(relays, ["b", "a"]);
}

#[test]
fn a_way_without_relays_does_not_forget_those_that_led_there() {
    let mut cache = ConnectionCache::default();
    cache.handle_way(BEN, way(2, &[], &["a"]), NOW);
    cache.handle_way(BEN, way(2, &[1], &[]), NOW + 1);
    assert_eq!(cache.remembered(&member(BEN, 2), NOW + 2).relays.len(), 1);
}

#[test]
fn what_is_a_day_old_is_only_what_is_left_in_the_end() {
    let mut cache = ConnectionCache::default();
    cache.handle_way(BEN, way(2, &[1], &["a"]), NOW);
    cache.handle_way(BEN, way(2, &[2], &[]), NOW + 1000);

    let remembered = cache.remembered(&member(BEN, 2), NOW + STALE_MS);
    assert_eq!(remembered.addresses, [candidate(2)]);
    assert_eq!(remembered.stale, [candidate(1)]);
    assert!(remembered.relays.is_empty());
}

#[test]
fn a_time_from_a_clock_that_was_far_ahead_is_stale() {
    let mut cache = ConnectionCache::default();
    cache.handle_way(BEN, way(2, &[1], &[]), NOW + 2 * STALE_MS);
    let remembered = cache.remembered(&member(BEN, 2), NOW);
    assert_eq!((remembered.addresses.len(), remembered.stale.len()), (0, 1));
}

#[test]
fn a_member_that_left_or_has_another_key_is_forgotten() {
    let carl = MemberId(3);
    let mut cache = ConnectionCache::default();
    cache.handle_way(BEN, way(2, &[1], &[]), NOW);
    cache.handle_way(carl, way(3, &[1], &[]), NOW);

    assert_eq!(cache.remembered(&member(BEN, 9), NOW), Remembered::default());
    cache.handle_members(&[member(BEN, 9)]);
    for member in [member(BEN, 2), member(carl, 3)] {
        assert_eq!(cache.remembered(&member, NOW), Remembered::default());
    }
    assert!(cache.handle_way(BEN, way(9, &[4], &[]), NOW));
    assert_eq!(cache.remembered(&member(BEN, 9), NOW).addresses, [candidate(4)]);
}

#[test]
fn relays_are_begun_with_for_a_day_and_known_by_their_key() {
    let mut cache = ConnectionCache::default();
    cache.handle_offer(&[relay("a", 1), relay("b", 1)], NOW);
    cache.handle_rtt(&"a".parse().unwrap(), Duration::from_millis(20), NOW + 1000);
    cache.handle_rtt(&"gone".parse().unwrap(), Duration::from_millis(20), NOW);

    assert_eq!(
        names(&cache.relays(NOW + STALE_MS)),
        ["a"],
        "the one in use was seen later"
    );
    assert_eq!(names(&cache.all_relays()), ["a", "b"]);
    let rtt = |cache: &ConnectionCache, now| cache.rtts(now).values().copied().collect::<Vec<_>>();
    assert_eq!(rtt(&cache, NOW + STALE_MS), [Duration::from_millis(20)]);
    assert!(rtt(&cache, NOW + 1000 + STALE_MS).is_empty());

    cache.handle_offer(&[relay("a", 2)], NOW + 2000);
    assert!(rtt(&cache, NOW + 2000).is_empty(), "another key, another relay");
    cache.handle_offer(&[], NOW + STALE_MS);
    assert_eq!(names(&cache.all_relays()), ["a"]);
}

proptest! {
    #[test]
    fn the_cache_stays_small_and_gives_back_what_was_proven_last(
        ways in prop::collection::vec((prop::collection::vec(1u16..60, 0..24), 0u64..STALE_MS * 3), 1..40),
        offers in prop::collection::vec((0u8..200, 0u64..STALE_MS * 3), 0..300),
    ) {
        let mut cache = ConnectionCache::default();
        let ben = member(BEN, 2);
        let mut now = NOW;
        for (ports, later) in &ways {
            now += later;
            cache.handle_way(BEN, way(2, ports, &["a", "b", "c", "d", "e", "f"]), now);
            let remembered = cache.remembered(&ben, now);
            prop_assert!(remembered.addresses.len() + remembered.stale.len() <= 8);
            prop_assert!(remembered.relays.len() <= 4);
            if let Some(best) = ports.first() {
                prop_assert_eq!(remembered.addresses[0], candidate(*best));
            }
            let later = cache.remembered(&ben, now + STALE_MS);
            prop_assert!(later.addresses.is_empty());
            prop_assert_eq!(later.stale.len(), remembered.addresses.len() + remembered.stale.len());
        }
        for (id, later) in &offers {
            now += later / 1000;
            let id = format!("relay-{id}");
            cache.handle_offer(&[relay(&id, 1)], now);
            prop_assert!(cache.all_relays().len() <= MAX_RELAYS);
            prop_assert!(names(&cache.relays(now)).contains(&id.as_str()));
        }
    }
}
