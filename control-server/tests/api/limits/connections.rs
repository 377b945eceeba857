//! Who holds connections, and for how long.

use std::time::Duration;

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_control::tls::Allowance;
use lanrage_shared::api::error::ErrorCode;
use tokio::io::AsyncReadExt;

use crate::support::{PATIENCE, Request, TestServer, connect};

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
