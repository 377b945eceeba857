//! Which relays lead to whom.

use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{Pin, RelayId};

use super::*;
use crate::relays::Role;

fn known_relay(id: &str, role: Role, rtt_ms: u64, load: u8) -> KnownRelay {
    KnownRelay {
        relay: Relay {
            id: id.parse().unwrap(),
            region: "eu".into(),
            host: None,
            port: 4443,
            pin: Pin([0; 32]),
            load,
        },
        role,
        rtt: Some(Duration::from_millis(rtt_ms)),
        failure: None,
    }
}

fn own_relay(number: u16, id: &str, rtt_ms: f64) -> OwnRelay {
    OwnRelay {
        number: RelayNumber(number),
        id: id.parse().unwrap(),
        rtt_ms,
    }
}

#[test]
fn two_that_have_no_relay_of_their_own_in_common_keep_each_others() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    let now = world.now;
    let names = ["nyc-1", "bos-1", "fra-1", "ams-1"];
    let [nyc, bos, fra, ams] = [0, 1, 2, 3].map(|number| own_relay(number, names[usize::from(number)], 50.0));
    let own = [[nyc.clone(), bos], [fra.clone(), ams]];
    for (engine, own) in world.engines.iter_mut().zip(&own) {
        engine.handle_relays(own.to_vec(), now);
    }
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.engines[0].missing_relays(), vec![fra.id.clone()]);
    assert_eq!(world.engines[1].missing_relays(), vec![nyc.id.clone()]);
    let now = world.now;
    for (engine, (own, for_peers)) in world.engines.iter_mut().zip(own.into_iter().zip([&fra, &nyc])) {
        let known = known_relay(for_peers.id.as_str(), Role::ForPeers, 50, 0);
        engine.handle_known_relays(vec![known], now);
        engine.handle_relays(own.into_iter().chain([for_peers.clone()]).collect(), now);
    }
    world.run_for(Duration::from_secs(5));
    assert!(world.everybody_is_connected());
    assert_eq!(world.engines[0].missing_relays(), [fra.id]);
    assert_eq!(world.engines[1].missing_relays(), [nyc.id]);
}

#[test]
fn a_relay_that_saves_a_detour_is_asked_for_until_there_is_a_direct_path() {
    let mut world = world(2);
    world.direct_cut = true;
    world.set_server(true);
    let now = world.now;
    world.engines[0].handle_relays(vec![own_relay(1, "lon-1", 20.0), own_relay(2, "nyc-1", 90.0)], now);
    world.engines[1].handle_relays(vec![own_relay(3, "sfo-1", 10.0), own_relay(2, "nyc-1", 70.0)], now);
    world.run_for(Duration::from_millis(200));
    let mut missing = |rtt_ms, load| {
        let known = vec![
            known_relay("nyc-1", Role::Spare, 90, 0),
            known_relay("sfo-1", Role::Unused, rtt_ms, load),
        ];
        world.engines[0].handle_known_relays(known, now);
        world.engines[0].missing_relays()
    };
    assert_eq!(missing(150, 0), Vec::<RelayId>::new(), "no worse over New York: 160");
    assert_eq!(missing(120, 0), ["sfo-1".parse().unwrap()], "130 instead of 160");
    assert_eq!(missing(120, 90), Vec::<RelayId>::new(), "nearly full");
    missing(120, 0);
    world.direct_cut = false;
    world.run_for(Duration::from_secs(30));
    assert!(world.engines[0].missing_relays().is_empty());
}
