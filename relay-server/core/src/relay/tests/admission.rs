//! Who gets in, and when they have to go.

use lanrage_shared::api::error::ErrorCode;

use crate::relay::testing::*;
use crate::relay::{Ended, Limits, Refusal, Relay, Why};

fn world() -> World {
    World::new(Limits::default())
}

#[test]
fn a_relay_that_knows_no_token_key_admits_nobody() {
    let world = world();
    let fresh: Relay<Port> = Relay::new(relay_id("fra-1"), Limits::default(), world.now, START_S * 1000);
    let claims = claims(party(1), 1);
    let refused = fresh.admit(
        &world.hello(&claims),
        &EXPORTED,
        (claims.party, claims.member),
        world.now,
    );
    assert_eq!(refused.err(), Some(Refusal::NotReady));
}

#[test]
fn a_token_serves_its_relay_until_it_ends() {
    let world = world();
    let mine = claims(party(1), 1);
    let elsewhere = lanrage_shared::token::RelayClaims {
        relay: relay_id("nyc-1"),
        ..mine.clone()
    };
    assert_eq!(world.try_admit(&elsewhere).err(), Some(Refusal::OtherRelay));
    let over = lanrage_shared::token::RelayClaims {
        exp: START_S,
        ..mine.clone()
    };
    assert_eq!(world.try_admit(&over).err(), Some(Refusal::Expired));
    assert_eq!(world.try_admit(&mine).unwrap().expires_at, START_S + 3600);
}

#[test]
fn a_hello_is_worth_nothing_with_another_key_or_on_another_connection() {
    let world = world();
    let claims = claims(party(1), 1);
    let port = (claims.party, claims.member);
    for hello in [
        world.hello_of(&claims, &identity(2), &EXPORTED),
        world.hello_of(&claims, &identity(1), &[8; 32]),
    ] {
        let refused = world.relay.admit(&hello, &EXPORTED, port, world.now);
        assert_eq!(refused.err(), Some(Refusal::WrongProof));
    }
}

#[test]
fn the_time_tokens_go_by_is_the_control_servers() {
    let world = world();
    world.relay.set_time(world.now, (START_S + 3600) * 1000);
    assert_eq!(world.try_admit(&claims(party(1), 1)).err(), Some(Refusal::Expired));
}

#[test]
fn a_newer_session_of_a_member_replaces_the_older() {
    let world = world();
    let old = world.sit(party(1), 1);
    let other = world.sit(party(1), 2);
    let newer = world.try_admit(&claims(party(1), 1)).unwrap();
    assert_eq!(newer.replaced, Some((party(1), other.member().1.min(old.member().1))));
    assert_eq!(world.relay.population(), (2, 1));
    // What the older connection still does changes nothing.
    assert!(world.send(&old, 2, b"x").is_none());
    world.relay.leave(&old);
    assert!(world.send(&newer.session, 2, b"x").is_some());
}

#[test]
fn the_number_of_a_member_that_left_is_its_successors() {
    let world = world();
    let mut successor = claims(party(1), 1);
    successor.identity_key = identity(50).public();
    successor.epoch = 2;
    let hello = world.hello_of(&successor, &identity(50), &EXPORTED);
    world
        .relay
        .admit(&hello, &EXPORTED, (party(1), successor.member), world.now)
        .unwrap();
    assert_eq!(world.try_admit(&claims(party(1), 1)).err(), Some(Refusal::OldEpoch));
}

#[test]
fn a_removed_member_is_out_at_once_and_stays_out_until_it_is_let_in_again() {
    let world = world();
    let (kicked, staying) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let elsewhere = world.sit(party(2), 1);
    let ended = world.relay.apply(&removal(1, party(1), 2, &[1]), world.now);
    assert_eq!(
        ended,
        [Ended {
            port: (party(1), kicked.member().1),
            why: Why::Revoked
        }]
    );
    assert!(world.send(&kicked, 2, b"x").is_none());
    assert!(world.send(&staying, 1, b"x").is_none());
    assert_eq!(world.relay.population(), (2, 2));
    assert_eq!(world.try_admit(&claims(party(1), 1)).err(), Some(Refusal::OldEpoch));
    assert!(
        world.try_admit(&claims(party(2), 1)).is_ok(),
        "another party is no business of this one"
    );
    drop(elsewhere);

    let again = lanrage_shared::token::RelayClaims {
        epoch: 2,
        ..claims(party(1), 1)
    };
    assert!(world.try_admit(&again).is_ok());
    // Late news of the removal do not end the new session.
    assert_eq!(world.relay.apply(&removal(1, party(1), 2, &[1]), world.now), []);
}

#[test]
fn revocations_survive_a_restart() {
    let before = world();
    before.relay.apply(&removal(7, party(1), 2, &[1]), before.now);
    let kept = serde_json::to_string(&before.relay.known()).unwrap();

    let after = world();
    after.relay.restore(&serde_json::from_str(&kept).unwrap());
    assert_eq!(after.relay.known().seq, 7);
    assert_eq!(after.try_admit(&claims(party(1), 1)).err(), Some(Refusal::OldEpoch));
    after.relay.handle_last_seq(3);
    assert_eq!(
        after.relay.known().seq,
        3,
        "the server was restored and counts from there"
    );
    assert_eq!(after.try_admit(&claims(party(1), 1)).err(), Some(Refusal::OldEpoch));
}

#[test]
fn a_session_ends_with_its_token_unless_renewed() {
    let mut world = world();
    let (ends, renewed) = (world.sit(party(1), 1), world.sit(party(1), 2));
    let newer = lanrage_shared::token::RelayClaims {
        exp: START_S + 7200,
        epoch: 2,
        ..claims(party(1), 2)
    };
    let until = world.relay.renew(&renewed, &world.hello(&newer), &EXPORTED, world.now);
    assert_eq!(until, Ok(START_S + 7200));
    let of_another = world
        .relay
        .renew(&renewed, &world.hello(&claims(party(1), 1)), &EXPORTED, world.now);
    assert_eq!(of_another, Err(Refusal::OtherMember));

    let (at, _) = world.relay.poll_timeout().unwrap();
    assert_eq!(at.duration_since(world.now).as_secs(), 3600);
    world.now = at;
    let ended = world.relay.handle_timeout(world.now);
    assert_eq!(
        ended,
        [Ended {
            port: (party(1), ends.member().1),
            why: Why::Expired
        }]
    );
    assert_eq!(world.relay.population(), (1, 1));
}

#[test]
fn a_full_or_draining_relay_takes_nobody_new_and_keeps_who_is_there() {
    let world = World::new(Limits {
        sessions: 2,
        ..Limits::default()
    });
    let (one, _two) = (world.sit(party(1), 1), world.sit(party(1), 2));
    assert_eq!(world.try_admit(&claims(party(1), 3)).err(), Some(Refusal::Full));
    assert!(
        world.try_admit(&claims(party(1), 2)).is_ok(),
        "a reconnect needs no new place"
    );
    world.relay.drain();
    assert_eq!(world.try_admit(&claims(party(1), 2)).err(), Some(Refusal::Draining));
    assert!(world.send(&one, 2, b"x").is_some());
    assert_eq!(world.relay.health(world.now).load, 100);
}

#[test]
fn a_refusal_says_what_to_do_and_has_a_code() {
    for refusal in Refusal::ALL {
        let error = refusal.to_api_error();
        assert!(!error.message.is_empty() && error.code != ErrorCode::Unknown);
    }
    assert_eq!(Refusal::OldEpoch.to_api_error().code, ErrorCode::TokenExpired);
}
