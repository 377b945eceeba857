//! Nobody is refused without a number of it.

use lanrage_control::config::{LimitsConfig, Within};
use lanrage_shared::stream::ClientMessage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::admin::ask;
use crate::support::{Code, Device, PATIENCE, Request, Stream, TestServer, connect};

/// Waits until each of these lines is in the metrics.
async fn shows(server: &TestServer, lines: &[&str]) {
    let mut last = String::new();
    let showing = async {
        loop {
            last = ask(server, "GET", "/metrics", None).await.1;
            if lines.iter().all(|line| last.lines().any(|shown| shown == *line)) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, showing).await.is_err() {
        panic!("{lines:?} are not all in\n{last}");
    }
}

#[tokio::test]
async fn a_server_without_places_does_not_look_idle() {
    let server = TestServer::start_with(LimitsConfig {
        connections_per_address: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let none = [
        "lanrage_control_connections_refused_total{reason=\"turned_away\"} 0",
        "lanrage_control_connections_refused_total{reason=\"closed\"} 0",
        "lanrage_control_http_refusals_total{reason=\"unavailable\"} 0",
    ];
    shows(&server, &none).await;
    let _held = connect(server.target()).await.unwrap();
    assert_eq!(server.request(Request::new("GET", "/healthz")).await.status, 503);
    let turned_away = [
        "lanrage_control_connections_refused_total{reason=\"turned_away\"} 1",
        "lanrage_control_http_refusals_total{reason=\"unavailable\"} 1",
    ];
    shows(&server, &turned_away).await;
    // So many that the last are not even told.
    let mut more = Vec::new();
    for _ in 0..6 {
        more.push(TcpStream::connect(server.address).await.unwrap());
    }
    let closed = ["lanrage_control_connections_refused_total{reason=\"closed\"} 2"];
    shows(&server, &closed).await;
    shows(&server, &turned_away[1..]).await;
}

#[tokio::test]
async fn handshakes_that_fail_or_take_too_long_are_counted() {
    let server = TestServer::start_with(LimitsConfig {
        header_timeout_s: Within::clamped(1),
        ..LimitsConfig::default()
    })
    .await;
    let mut wrong = TcpStream::connect(server.address).await.unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let counted = [
        "lanrage_control_connections_refused_total{reason=\"bad_handshake\"} 1",
        "lanrage_control_connections_refused_total{reason=\"late_handshake\"} 1",
    ];
    shows(&server, &counted).await;
    // What it was told, if anything, is TLS's alert.
    let _ = wrong.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn why_streams_end_and_what_they_refuse_is_counted() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let party = anna.host(&Code::new(1), None).await.party.id;
    // Of a party that is not this device's.
    Stream::open(&ben, party, None, 1).await.bye().await;
    let mut without_hello = Stream::connect(&ben).await;
    without_hello.say_text("{}").await;
    without_hello.bye().await;
    let mut first = anna.stream(party, None).await;
    first.welcome().await;
    let hello = ClientMessage::Hello {
        party,
        since: None,
        secret_epoch: 1,
    };
    first.say(&hello).await;
    first.refusal().await;
    let second = anna.stream(party, None).await;
    first.bye().await;
    drop(second);
    let counted = [
        "lanrage_control_stream_ends_total{reason=\"not_a_member\"} 1",
        "lanrage_control_stream_ends_total{reason=\"no_hello\"} 1",
        "lanrage_control_stream_ends_total{reason=\"superseded\"} 1",
        "lanrage_control_stream_ends_total{reason=\"gone\"} 1",
        "lanrage_control_stream_ends_total{reason=\"too_many_arrivals\"} 0",
        "lanrage_control_stream_refusals_total{reason=\"bad_request\"} 1",
    ];
    shows(&server, &counted).await;
}
