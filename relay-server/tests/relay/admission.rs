//! Who gets in over the wire.

use lanrage_relay::relay::Outcome;
use lanrage_relay_client::{ConnectError, Credentials, Event};
use lanrage_relay_core::relay::{Limits, Refusal};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::ids::Pin;
use lanrage_shared::token::RelayClaims;

use crate::support::*;

#[tokio::test]
async fn a_hello_that_does_not_prove_everything_is_refused_with_a_reason() {
    let relay = TestRelay::start().await;
    relay.handle.apply(&removal(party(9), 5, &[]));
    let mine = relay.claims(party(1), 1);
    let of = |claims: RelayClaims| relay.credentials(&claims);
    let cases = [
        (
            Refusal::WrongProof,
            Credentials {
                identity: identity(2),
                ..of(mine.clone())
            },
        ),
        (
            Refusal::OtherRelay,
            of(RelayClaims {
                relay: "nyc-1".parse().unwrap(),
                ..mine.clone()
            }),
        ),
        (
            Refusal::Expired,
            of(RelayClaims {
                exp: now_s() - 1,
                ..mine.clone()
            }),
        ),
        (
            Refusal::OldEpoch,
            of(RelayClaims {
                epoch: 4,
                ..relay.claims(party(9), 1)
            }),
        ),
        (
            Refusal::InvalidToken,
            Credentials {
                token: "a.b.c".into(),
                ..of(mine)
            },
        ),
    ];
    for (refusal, credentials) in cases {
        for transport in BOTH {
            let error = relay.connect(transport, &credentials).await.unwrap_err();
            assert_eq!(error, ConnectError::Refused(refusal.to_api_error()), "{transport:?}");
        }
        assert_eq!(relay.handle.handshakes().count_of(Outcome::Refused(refusal)), 2);
    }
    assert_eq!(relay.handle.population(), (0, 0));
}

#[tokio::test]
async fn a_relay_with_another_key_is_not_trusted() {
    let relay = TestRelay::start().await;
    let credentials = relay.credentials(&relay.claims(party(1), 1));
    for transport in BOTH {
        let error = relay
            .connect_pinned(transport, &credentials, Pin([9; 32]))
            .await
            .unwrap_err();
        let relay = relay.target.address;
        assert_eq!(error, ConnectError::WrongKey { relay }, "{transport:?}");
    }
}

#[tokio::test]
async fn a_full_relay_says_so() {
    let relay = TestRelay::with_limits(Limits {
        sessions: 1,
        ..Limits::default()
    })
    .await;
    let _only = relay.member(BOTH[0], party(1), 1).await;
    let late = relay.credentials(&relay.claims(party(1), 2));
    for transport in BOTH {
        let ConnectError::Refused(error) = relay.connect(transport, &late).await.unwrap_err() else {
            panic!("not refused");
        };
        assert_eq!(error.code, ErrorCode::Unavailable);
    }
}

#[tokio::test]
async fn a_newer_connection_of_a_member_ends_the_older() {
    let relay = TestRelay::start().await;
    for (old, new) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let mut older = relay.member(old, party(1), 1).await;
        let newer = relay.member(new, party(1), 1).await;
        let error = older.ended().await;
        assert_eq!(error.code, ErrorCode::Superseded);
        let mut other = relay.member(old, party(1), 2).await;
        newer.reaches(&mut other, 2, b"still here").await;
    }
}

#[tokio::test]
async fn a_renewed_session_outlives_its_first_token() {
    let relay = TestRelay::start().await;
    for transport in BOTH {
        let short = RelayClaims {
            exp: now_s() + 3,
            ..relay.claims(party(1), 1)
        };
        let mut renewed = Member(relay.connect(transport, &relay.credentials(&short)).await.unwrap());
        let mut left_alone = Member(
            relay
                .connect(
                    transport,
                    &relay.credentials(&RelayClaims {
                        exp: now_s() + 3,
                        ..relay.claims(party(1), 2)
                    }),
                )
                .await
                .unwrap(),
        );
        let longer = relay.claims(party(1), 1);
        renewed.0.sender.renew(&relay.credentials(&longer)).await.unwrap();
        assert_eq!(renewed.event().await, Event::Welcome { expires_at: longer.exp });
        let error = left_alone.ended().await;
        assert_eq!(error.code, ErrorCode::TokenExpired);
        let mut other = relay.member(transport, party(1), 3).await;
        renewed.reaches(&mut other, 3, b"still here").await;
    }
}

#[tokio::test]
async fn renewing_with_another_members_token_ends_the_session() {
    let relay = TestRelay::start().await;
    let mut member = relay.member(BOTH[0], party(1), 1).await;
    let other = relay.credentials(&relay.claims(party(1), 2));
    member.0.sender.renew(&other).await.unwrap();
    assert_eq!(member.event().await, Event::Ended(Refusal::OtherMember.to_api_error()));
}

#[tokio::test]
async fn an_address_proves_itself_once() {
    let relay = TestRelay::start().await;
    let endpoint = endpoint();
    let credentials = relay.credentials(&relay.claims(party(1), 1));
    for _ in 0..3 {
        let member = Member(endpoint.connect(relay.target, &credentials).await.unwrap());
        let mut other = relay.member(BOTH[1], party(1), 2).await;
        member.reaches(&mut other, 2, b"hello").await;
    }
    assert_eq!(relay.handle.handshakes().count_of(Outcome::Retried), 1);
}
