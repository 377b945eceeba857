//! Where packets go over the wire.

use std::time::Duration;

use bytes::Bytes;
use lanrage_relay_client::{Event, SendError, Transport};
use lanrage_relay_core::relay::{DropReason, Limits};
use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{MAX_PAYLOAD, NoticeReason};

use tokio::time::timeout;

use crate::support::*;

#[tokio::test]
async fn members_on_any_transport_reach_each_other_with_any_length() {
    let relay = TestRelay::start().await;
    for from in BOTH {
        for to in BOTH {
            let one = relay.member(from, party(1), 1).await;
            let mut two = relay.member(to, party(1), 2).await;
            for length in [0, 1, 148, 1100, 1200, 1280, 1420, 1500, MAX_PAYLOAD] {
                let payload = vec![length as u8; length];
                one.send(2, &payload);
                assert_eq!(
                    two.packet().await,
                    (1, Bytes::from(payload)),
                    "{length} from {from:?} to {to:?}"
                );
            }
            assert_eq!(
                one.0.sender.send(MemberId(2), &[0; MAX_PAYLOAD + 1]),
                Err(SendError::TooLong)
            );
        }
    }
    assert_eq!(relay.handle.counters().dropped_total(), 0);
}

#[tokio::test]
async fn nobody_reaches_another_party() {
    let relay = TestRelay::start().await;
    for transport in BOTH {
        let mut here = relay.member(transport, party(1), 1).await;
        let mut there = relay.member(transport, party(2), 2).await;
        let neighbour = relay.member(transport, party(2), 1).await;
        here.send(2, b"let me in");
        let undelivered = Event::Undelivered {
            to: MemberId(2),
            reason: NoticeReason::NotConnected,
        };
        assert_eq!(here.event().await, undelivered);
        // The first that arrives there is its own party's.
        neighbour.reaches(&mut there, 2, b"hello").await;
    }
}

#[tokio::test]
async fn a_flood_is_cut_to_the_members_rate_and_others_hardly_notice() {
    let relay = TestRelay::with_limits(Limits {
        member_frames_per_s: 1000,
        ..Limits::default()
    })
    .await;
    let loud = relay.member(Transport::Quic, party(1), 1).await;
    let _sink = relay.member(Transport::Quic, party(1), 2).await;
    let quiet = relay.member(Transport::Quic, party(2), 1).await;
    let mut other = relay.member(Transport::Quic, party(2), 2).await;
    let flood = async {
        loop {
            for _ in 0..10 {
                loud.send(2, &[0; 1000]);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let talk = async {
        for _ in 0..200 {
            quiet.reaches(&mut other, 2, b"move").await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = talk => {}
    }
    let counters = relay.handle.counters();
    assert!(counters.dropped(DropReason::RateLimited) > 0);
    assert_eq!(counters.dropped_total(), counters.dropped(DropReason::RateLimited));
}

#[tokio::test]
async fn a_receiver_that_stands_still_loses_the_oldest_and_holds_up_nobody() {
    let relay = TestRelay::with_limits(Limits {
        member_frames_per_s: 1_000_000,
        member_bytes_per_s: 1_000_000_000,
        ..Limits::default()
    })
    .await;
    let one = relay.member(Transport::Quic, party(1), 1).await;
    let mut stuck = relay.member(Transport::Tcp, party(1), 2).await;
    let mut other = relay.member(Transport::Quic, party(1), 3).await;
    let counters = relay.handle.counters();
    let mut heard = 0;
    // More than the system's own buffers take.
    while counters.dropped(DropReason::Stale) + counters.dropped(DropReason::QueueFull) == 0 {
        for _ in 0..20 {
            one.send(2, &[1; 1200]);
        }
        one.send(3, b"next");
        heard += usize::from(timeout(Duration::from_secs(1), other.packet()).await.is_ok());
    }
    assert!(heard > 0);
    one.send(2, b"last");
    // It comes back and gets what is newest.
    let mut last = stuck.packet().await.1;
    while last != Bytes::from_static(b"last") {
        last = stuck.packet().await.1;
        one.send(2, b"last");
    }
}

#[tokio::test]
async fn a_busy_party_leaves_a_quiet_one_its_share_of_a_narrow_uplink() {
    let relay = TestRelay::with_limits(Limits {
        egress_bytes_per_s: 2_000_000,
        ..Limits::default()
    })
    .await;
    let busy = relay.member(Transport::Quic, party(1), 1).await;
    let mut sink = relay.member(Transport::Quic, party(1), 2).await;
    let quiet = relay.member(Transport::Quic, party(2), 1).await;
    let mut other = relay.member(Transport::Quic, party(2), 2).await;
    let flood = async {
        loop {
            for _ in 0..10 {
                busy.send(2, &[0; 1000]);
            }
            let _ = timeout(Duration::from_millis(1), sink.event()).await;
        }
    };
    let talk = async {
        for _ in 0..100 {
            quiet.reaches(&mut other, 2, b"move").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = talk => {}
    }
    let counters = relay.handle.counters();
    assert!(counters.queued() > 0, "the uplink was wide enough");
    assert!(counters.dropped(DropReason::Stale) + counters.dropped(DropReason::QueueFull) > 0);
}
