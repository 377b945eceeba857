//! Strangers: what they can send, hold on to, and learn.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use lanrage_relay::relay::Outcome;
use lanrage_relay_client::frames::{self, FrameReader};
use lanrage_relay_client::{Transport, control, transport};
use lanrage_shared::wire::relay::{ALPN, EXPORTER_LABEL, Frame, FromRelay, Hello, hello_proof};
use lanrage_tls::pinned::client_config;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;

/// A bare QUIC connection, past the handshake.
async fn stranger(relay: &TestRelay) -> quinn::Connection {
    let crypto = QuicClientConfig::try_from(client_config(relay.target.pin, &[ALPN])).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport::for_agent(None)));
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint.connect_with(config, relay.target.address, "lanrage").unwrap();
    connecting.await.unwrap()
}

/// A bare TLS connection, past the handshake, and its keying material.
async fn tcp_stranger(relay: &TestRelay) -> (TlsStream<TcpStream>, [u8; 32]) {
    let tcp = TcpStream::connect(relay.target.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(relay.target.pin, &[ALPN])));
    let stream = connector.connect("lanrage".try_into().unwrap(), tcp).await.unwrap();
    let session = stream.get_ref().1;
    let exported = session
        .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
        .unwrap();
    (stream, exported)
}

async fn works(relay: &TestRelay) {
    let one = relay.member(Transport::Quic, party(7), 1).await;
    let mut two = relay.member(Transport::Tcp, party(7), 2).await;
    one.reaches(&mut two, 2, b"as ever").await;
}

#[tokio::test]
async fn a_hello_heard_on_another_connection_is_worth_nothing() {
    let relay = TestRelay::start().await;
    let credentials = relay.credentials(&relay.claims(party(1), 1));
    // What a member said on its own connection…
    let first = stranger(&relay).await;
    let mut exported = [0; 32];
    first
        .export_keying_material(&mut exported, EXPORTER_LABEL, b"")
        .unwrap();
    let hello = Hello {
        signature: credentials.identity.sign(&hello_proof(&exported, &credentials.token)),
        token: credentials.token,
    };
    // …said again on that one is right, on another wrong.
    let second = stranger(&relay).await;
    for (connection, right) in [(first, true), (second, false)] {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        control::write(&mut send, &hello).await.unwrap();
        let answer = control::read::<FromRelay>(&mut receive).await.unwrap().unwrap();
        assert_eq!(matches!(answer, FromRelay::Welcome { .. }), right, "{answer:?}");
    }
}

#[tokio::test]
async fn a_hello_heard_on_another_connection_is_worth_nothing_over_tcp_either() {
    let relay = TestRelay::start().await;
    let credentials = relay.credentials(&relay.claims(party(1), 1));
    let (first, exported) = tcp_stranger(&relay).await;
    let (second, _) = tcp_stranger(&relay).await;
    let hello = Hello {
        signature: credentials.identity.sign(&hello_proof(&exported, &credentials.token)),
        token: credentials.token,
    };
    let mut bytes = BytesMut::new();
    assert!(frames::put(&mut bytes, &control::to_frame(&hello).unwrap()));
    for (mut stream, right) in [(first, true), (second, false)] {
        stream.write_all(&bytes).await.unwrap();
        let answer = FrameReader::new(stream).next().await.unwrap().unwrap();
        let answer: FromRelay = control::from_payload(Frame::parse(&answer).unwrap().payload).unwrap();
        assert_eq!(matches!(answer, FromRelay::Welcome { .. }), right, "{answer:?}");
    }
}

#[tokio::test]
async fn frames_before_the_hello_and_nonsense_instead_of_it_lead_nowhere() {
    let relay = TestRelay::start().await;
    let early = stranger(&relay).await;
    early.send_datagram(vec![1, 0, 2, 0, 9].into()).unwrap();
    let (mut send, _receive) = early.open_bi().await.unwrap();
    send.write_all(b"\x00\x00\x00\x05hello").await.unwrap();
    timeout(PATIENCE, early.closed()).await.unwrap();

    let endless = stranger(&relay).await;
    let (mut send, _receive) = endless.open_bi().await.unwrap();
    send.write_all(&[0xff; 64]).await.unwrap();
    timeout(PATIENCE, endless.closed()).await.unwrap();

    let mut plain = TcpStream::connect(relay.target.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    until("three failures are counted", || {
        relay.handle.handshakes().count_of(Outcome::Failed) == 3
    })
    .await;
    assert_eq!(relay.handle.counters().forwarded(), 0);
    works(&relay).await;
}

#[tokio::test]
async fn whoever_says_nothing_is_cut_off_after_five_seconds() {
    let relay = TestRelay::start().await;
    let silent = stranger(&relay).await;
    let tcp = TcpStream::connect(relay.target.address).await.unwrap();
    let closed = async {
        silent.closed().await;
        until("both are counted", || {
            relay.handle.handshakes().count_of(Outcome::Failed) == 2
        })
        .await;
    };
    timeout(Duration::from_secs(9), closed).await.unwrap();
    drop(tcp);
}

#[tokio::test]
async fn one_address_can_hold_only_so_many_connections_without_a_hello() {
    let relay = TestRelay::start().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(relay.target.address).await.unwrap());
    }
    until("the rest is turned away", || {
        relay.handle.handshakes().count_of(Outcome::TurnedAway) >= 36
    })
    .await;
    drop(idle);
    until("their places are free again", || {
        relay.handle.handshakes().count_of(Outcome::Failed) >= 64
    })
    .await;
    works(&relay).await;
}

#[tokio::test]
async fn mutated_and_truncated_packets_change_nothing() {
    let relay = TestRelay::start().await;
    let initial = first_packet().await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for at in 0..600 {
        let mut mutated = initial.clone();
        let spot = at * 7 % mutated.len();
        mutated[spot] ^= 1 << (at % 8);
        socket.send_to(&mutated, relay.target.address).await.unwrap();
        let cut = at * 13 % initial.len();
        socket.send_to(&initial[..cut], relay.target.address).await.unwrap();
    }
    works(&relay).await;
}

#[tokio::test]
async fn an_address_that_does_not_prove_itself_gets_less_than_it_sent() {
    let relay = TestRelay::start().await;
    let initial = first_packet().await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(&initial, relay.target.address).await.unwrap();
    let mut received = 0;
    let mut buffer = [0; 2048];
    while let Ok(read) = timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await {
        received += read.unwrap();
    }
    assert!(
        received > 0 && received <= initial.len(),
        "{received} for {}",
        initial.len()
    );
}

/// The first datagram of a QUIC client.
async fn first_packet() -> Vec<u8> {
    let listener = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let crypto = QuicClientConfig::try_from(client_config(lanrage_shared::ids::Pin([0; 32]), &[ALPN])).unwrap();
    let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, address, "lanrage").unwrap();
    let mut buffer = vec![0; 2048];
    let length = listener.recv(&mut buffer).await.unwrap();
    drop(connecting);
    buffer.truncate(length);
    buffer
}
