//! How often callers may ask, and how much of a kind they may have.

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;

use super::with;
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, PATIENCE, RedisServer, Request, TestServer, party};

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let server = TestServer::start_with(LimitsConfig {
        requests_per_second: Within::clamped(1),
        request_burst: Within::clamped(3),
        ..LimitsConfig::default()
    })
    .await;
    let anna = Device::new(&server, 1).await;
    let mut last = anna.prove("x").send(server.target()).await;
    for _ in 0..3 {
        last = anna.prove("x").send(server.target()).await;
    }
    assert!(last.headers.contains_key("retry-after"));
    last.refused(429, ErrorCode::RateLimited);
    // Whoever has a token is counted apart.
    assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
}

#[tokio::test]
async fn whatever_needs_no_token_is_counted() {
    for (method, path) in [("GET", "/nothing/here"), ("PUT", "/healthz"), ("PUT", "/v1/parties")] {
        let server = TestServer::start_with(LimitsConfig {
            requests_per_second: Within::clamped(1),
            request_burst: Within::clamped(1),
            ..LimitsConfig::default()
        })
        .await;
        server.request(Request::new(method, path)).await;
        server
            .request(Request::new(method, path))
            .await
            .refused(429, ErrorCode::RateLimited);
    }
}

#[tokio::test]
async fn devices_of_one_address_share_a_limit() {
    let server = TestServer::start_with(LimitsConfig {
        requests_per_second: Within::clamped(1),
        request_burst: Within::clamped(8),
        ..LimitsConfig::default()
    })
    .await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    for _ in 0..4 {
        assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
        assert!(ben.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
    }
    // Fewer than each may ask by itself.
    let mut refused = 0;
    for _ in 0..20 {
        let answers = [anna.get("/v1/parties").await, ben.get("/v1/parties").await];
        refused += answers.iter().filter(|answer| answer.status == 429).count();
    }
    assert!(refused > 0, "two devices asked for more than their address may");
}

#[tokio::test]
async fn an_address_makes_so_many_parties_an_hour() {
    let server = TestServer::start_with(LimitsConfig {
        parties_per_hour: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    for n in 1..=2 {
        let device = Device::new(&server, n).await;
        device.host(&Code::new(u8::try_from(n).unwrap()), None).await;
    }
    let third = Device::new(&server, 3).await;
    let request = Request::new("POST", "/v1/parties").json(&party(&Code::new(3), None));
    let answer = third.send(request).await;
    assert!(answer.headers.contains_key("retry-after"));
    let error = answer.refused(429, ErrorCode::RateLimited);
    assert!(error.message.contains("parties"), "{}", error.message);
    assert!(third.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
}

#[tokio::test]
async fn a_device_asks_no_more_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        device_requests_per_second: Within::clamped(1),
        device_request_burst: Within::clamped(3),
        ..LimitsConfig::default()
    })
    .await;
    let mut taken = 0;
    while anna.get("/v1/parties").await.status == 200 {
        taken += 1;
    }
    // One or two more come due meanwhile.
    assert!((3..10).contains(&taken), "{taken}");
}

#[tokio::test]
async fn a_device_redeems_no_more_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        redemptions_per_minute: Within::clamped(1),
        redemption_burst: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    for _ in 0..2 {
        let answer = anna.redeem(&Code::new(7), "Anna").await;
        answer.refused(404, ErrorCode::InviteUnknown);
    }
    let answer = anna.redeem(&Code::new(7), "Anna").await;
    answer.refused(429, ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_device_is_in_no_more_parties_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        parties_per_device: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    anna.host(&Code::new(1), None).await;
    let second = Request::new("POST", "/v1/parties").json(&party(&Code::new(2), None));
    anna.send(second).await.refused(403, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_party_has_no_more_invites_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        invites_per_party: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    let id = anna.host(&Code::new(1), None).await.party.id;
    let invite = async |n| {
        let request = Request::new("POST", format!("/v1/parties/{id}/invites"));
        anna.send(request.json(&Code::new(n).invite(None))).await
    };
    assert!(invite(2).await.status.is_success());
    invite(3).await.refused(403, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_party_has_no_more_bans_than_it_may() {
    let (server, anna) = with(LimitsConfig {
        bans_per_party: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let code = Code::new(1);
    anna.host(&code, None).await;
    let mut guests = Vec::new();
    for n in 2..=3 {
        guests.push(Device::new(&server, n).await.join(&code, "Guest").await);
    }
    let mut statuses = Vec::new();
    for guest in guests {
        let party = anna.party(guest.party.id).await;
        statuses.push(anna.remove(&party, guest.me, true).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 403]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_a_redis_count_together() {
    const BURST: u32 = 100_000;
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let url = postgres.fresh_database("limits");
    let limits = LimitsConfig {
        requests_per_second: Within::clamped(1),
        request_burst: Within::clamped(BURST),
        ..LimitsConfig::default()
    };
    let replica = async |name, like| {
        let replica = TestServer::limited_replica(&url, name, like, Some(&redis), limits.clone()).await;
        replica.unwrap()
    };
    let one = replica("one", None).await;
    let two = replica("two", Some(&one)).await;
    let mut asked = 0;
    while one.app.limits.stranger([127, 0, 0, 1].into()).is_ok() {
        asked += 1;
    }
    assert!(asked >= BURST);
    // By itself, the other replica would answer as many.
    let mut answered = 0;
    let refusal = async {
        loop {
            let answer = two.request(Request::new("GET", "/nothing/here")).await;
            if answer.status == 429 {
                return answer;
            }
            answered += 1;
        }
    };
    tokio::time::timeout(PATIENCE, refusal).await.unwrap();
    assert!(answered < BURST / 2, "{answered}");
    tokio::join!(one.stop(), two.stop());
}
