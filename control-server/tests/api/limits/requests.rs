//! What requests and messages may take.

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_store::Database;
use lanrage_store_sqlite::SqliteDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::with;
use crate::support::{Code, Device, PATIENCE, Request, TestServer, connect, party};

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
