//! Removal, draining and stopping.

use std::time::{Duration, Instant};

use lanrage_relay_client::{ConnectError, Event};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::token::RelayClaims;
use tokio::time::timeout;

use crate::support::*;

#[tokio::test]
async fn a_removed_member_is_out_within_a_second_and_cannot_come_back() {
    let relay = TestRelay::start().await;
    for (epoch, transport) in [(2, BOTH[0]), (3, BOTH[1])] {
        let current = |member| {
            relay.credentials(&RelayClaims {
                epoch: epoch - 1,
                ..relay.claims(party(1), member)
            })
        };
        let mut kicked = Member(relay.connect(transport, &current(1)).await.unwrap());
        let mut staying = Member(relay.connect(transport, &current(2)).await.unwrap());
        let third = Member(relay.connect(transport, &current(3)).await.unwrap());
        kicked.reaches(&mut staying, 2, b"before").await;

        relay.handle.apply(&removal(party(1), epoch, &[1]));
        let told = Instant::now();
        kicked.send(2, b"after");
        let error = kicked.ended().await;
        assert_eq!(error.code, ErrorCode::NotAMember);
        assert!(told.elapsed() < Duration::from_secs(1));
        third.reaches(&mut staying, 2, b"we go on").await;
        let ConnectError::Refused(error) = relay.connect(transport, &current(1)).await.unwrap_err() else {
            panic!("let in");
        };
        assert_eq!(error.code, ErrorCode::TokenExpired);
    }
}

#[tokio::test]
async fn draining_tells_everybody_and_loses_nothing() {
    let relay = TestRelay::start().await;
    let mut members = Vec::new();
    for (number, transport) in BOTH.into_iter().cycle().take(4).enumerate() {
        members.push(relay.member(transport, party(1), number as u16 + 1).await);
    }
    let handle = relay.handle.clone();
    let draining = tokio::spawn(async move { handle.drain(Duration::from_secs(9)).await });
    for member in &mut members {
        assert_eq!(member.event().await, Event::Drain { seconds: 9 });
    }
    // It goes on for those who are there, and takes nobody new.
    let (first, rest) = members.split_at_mut(1);
    for (to, member) in rest.iter_mut().enumerate() {
        first[0].reaches(member, to as u16 + 2, b"on the way out").await;
    }
    let late = relay.credentials(&relay.claims(party(1), 9));
    assert!(matches!(
        relay.connect(BOTH[0], &late).await,
        Err(ConnectError::Refused(_))
    ));
    assert_eq!(relay.handle.counters().dropped_total(), 0);
    // It ends as soon as all have moved.
    drop(members);
    timeout(Duration::from_secs(5), draining).await.unwrap().unwrap();
    assert_eq!(relay.handle.population(), (0, 0));
}

#[tokio::test]
async fn a_relay_that_stops_says_goodbye() {
    let relay = TestRelay::start().await;
    let mut members = Vec::new();
    for (number, transport) in BOTH.into_iter().enumerate() {
        members.push(relay.member(transport, party(1), number as u16 + 1).await);
    }
    let stopping = tokio::spawn(relay.stop());
    for member in &mut members {
        let error = member.ended().await;
        assert_eq!(error.code, ErrorCode::Unavailable);
    }
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_member_that_hangs_up_frees_its_seat() {
    let relay = TestRelay::start().await;
    for transport in BOTH {
        let member = relay.member(transport, party(1), 1).await;
        assert_eq!(relay.handle.population(), (1, 1));
        drop(member);
        until("its seat is free", || relay.handle.population() == (0, 0)).await;
    }
}
