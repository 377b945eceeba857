//! What the `[limits]` section says holds: each of its settings at work. What takes long is tested by virtual time in
//! `tls/serve.rs`; how settings get there, here.

use std::time::Duration;

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_control::tls::Allowance;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_store::Database;
use lanrage_store_sqlite::SqliteDatabase;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, PATIENCE, RedisServer, Request, TestServer, connect, party};

#[test]
fn what_a_connection_may_take_is_what_the_section_says() {
    let limits = LimitsConfig {
        header_timeout_s: Within::clamped(7),
        write_timeout_s: Within::clamped(8),
        head_kib: Within::clamped(9),
        ..LimitsConfig::default()
    };
    let allowance = Allowance::from(&limits);
    assert_eq!(allowance.header_timeout, Duration::from_secs(7));
    assert_eq!(allowance.write_timeout, Duration::from_secs(8));
    assert_eq!(allowance.max_head, 9 * 1024);
}

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
async fn connections_beyond_the_limit_are_told_to_come_back() {
    let server = TestServer::start_with(LimitsConfig {
        connections: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    let _held = (
        connect(server.target()).await.unwrap(),
        connect(server.target()).await.unwrap(),
    );
    let answer = server.request(Request::new("GET", "/healthz")).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, ErrorCode::Unavailable);
}

#[tokio::test]
async fn one_address_cannot_take_every_connection() {
    let server = TestServer::start_with(LimitsConfig {
        connections_per_address: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    let held = (
        connect(server.target()).await.unwrap(),
        connect(server.target()).await.unwrap(),
    );
    let answer = server.request(Request::new("GET", "/healthz")).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, ErrorCode::Unavailable);
    drop(held);
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

/// A server with these limits, and Anna, who is signed in.
async fn with(limits: LimitsConfig) -> (TestServer, Device) {
    let server = TestServer::start_with(limits).await;
    let anna = Device::new(&server, 1).await;
    (server, anna)
}

#[tokio::test]
async fn who_says_nothing_in_its_handshake_does_not_hold_a_connection() {
    let server = TestServer::start_with(LimitsConfig {
        header_timeout_s: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut nothing = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut nothing)).await;
    // Closed, with what TLS says or without a word.
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn a_request_takes_no_longer_than_it_may() {
    let (server, anna) = with(LimitsConfig {
        request_timeout_s: Within::clamped(2),
        ..LimitsConfig::default()
    })
    .await;
    let mut stream = connect(server.target()).await.unwrap();
    let head = format!(
        "POST /v1/parties HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        anna.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let answered = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await;
    answered.expect("an answer comes").unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 503");
}

#[tokio::test]
async fn a_body_is_no_larger_than_it_may_be() {
    let (_server, anna) = with(LimitsConfig {
        body_kib: Within::clamped(65),
        ..LimitsConfig::default()
    })
    .await;
    let body = |kib: usize| Request::new("POST", "/v1/parties").raw_json(" ".repeat(kib * 1024));
    anna.send(body(64)).await.refused(400, ErrorCode::BadRequest);
    let refusal = anna.send(body(66)).await.refused(413, ErrorCode::TooLarge);
    assert!(refusal.message.contains("65 KiB"), "{}", refusal.message);
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_after_the_first_of_it() {
    let (server, anna) = with(LimitsConfig::default()).await;
    let (mut from, mut to) = tokio::io::split(connect(server.target()).await.unwrap());
    let head = format!(
        "POST /v1/parties HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        anna.token
    );
    to.write_all(head.as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        let mut sent = 0;
        while to.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 0x1000;
        }
        sent
    });
    let mut answer = Vec::new();
    // The connection may be reset when the rest of the body meets nobody.
    let _ = tokio::time::timeout(PATIENCE, from.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let sent = sending.await.unwrap();
    // What the sockets of both ends hold is sent before the end is noticed.
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn a_stream_takes_no_larger_message_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        message_kib: Within::clamped(8),
        ..LimitsConfig::default()
    })
    .await;
    let party = anna.host(&Code::new(1), None).await.party.id;
    let mut stream = anna.stream(party, None).await;
    stream.welcome().await;
    stream.say_text(&" ".repeat(7 * 1024)).await;
    assert_eq!(stream.refusal().await, ErrorCode::BadRequest);
    stream.say_text(&" ".repeat(9 * 1024)).await;
    while stream.try_next().await.is_some() {}
}

#[tokio::test]
async fn a_member_says_no_more_than_it_may() {
    let (_server, anna) = with(LimitsConfig {
        messages_per_second: Within::clamped(1),
        message_burst: Within::clamped(5),
        ..LimitsConfig::default()
    })
    .await;
    let party = anna.host(&Code::new(1), None).await.party.id;
    let mut stream = anna.stream(party, None).await;
    stream.welcome().await;
    for _ in 0..6 {
        stream.say_text("{}").await;
    }
    let mut refusals = Vec::new();
    while refusals.last() != Some(&ErrorCode::RateLimited) {
        refusals.push(stream.refusal().await);
    }
    // Its hello was one of the five, and so is the answer to a ping, if there was one.
    assert!((4..=6).contains(&refusals.len()), "{refusals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_those_answered_at_once_are_told_to_come_back() {
    let (server, anna) = with(LimitsConfig {
        requests_at_once: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let ben = Device::new(&server, 2).await;
    // Another process writes, and whoever asks for a party waits for it.
    let database = SqliteDatabase::open(&server.data_dir().join("control.sqlite3")).await;
    let writing = database.unwrap().write().await.unwrap();
    let refused = async |device: &Device| {
        loop {
            let request = Request::new("POST", "/v1/parties").json(&party(&Code::new(1), None));
            let answer = device.send(request).await;
            if String::from_utf8_lossy(&answer.body).contains("too much to do") {
                return answer;
            }
        }
    };
    let either = async {
        tokio::select! {
            answer = refused(&anna) => answer,
            answer = refused(&ben) => answer,
        }
    };
    let answer = tokio::time::timeout(PATIENCE, either).await.unwrap();
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, ErrorCode::Unavailable);
    let alive = server.request(Request::new("GET", "/healthz")).await;
    assert_eq!(alive.status, 200, "a busy server is alive");
    drop(writing);
    let answered = async { while anna.get("/v1/parties").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test]
async fn bodies_that_do_not_come_take_nobodys_turn() {
    let (server, anna) = with(LimitsConfig {
        requests_at_once: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let mut slow = connect(server.target()).await.unwrap();
    let head = "POST /v1/auth/challenge HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the server waits for the body");
    assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
}

#[tokio::test]
async fn a_load_balancer_that_shares_an_address_with_everybody_hears_how_the_server_is() {
    let server = TestServer::start_with(LimitsConfig {
        requests_per_second: Within::clamped(1),
        request_burst: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    for path in ["/nothing/here", "/healthz", "/readyz", "/healthz", "/readyz"] {
        let answer = server.request(Request::new("GET", path)).await;
        assert!(
            answer.status == 200 || path == "/nothing/here",
            "{path}: {}",
            answer.status
        );
    }
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
