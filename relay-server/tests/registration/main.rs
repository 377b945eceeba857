//! The relay and its control server: registering, revocations that are acknowledged and kept, draining, numbers.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of a test: a panic is a failed test"
)]

mod control;
mod program;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanrage_relay::metrics::{MetricsServer, Sources, registry};
use lanrage_relay::registration::{Announcement, RegisterToken, Registration};
use lanrage_relay::relay::{RelayHandle, RelayServer, RelaySettings};
use lanrage_relay_core::relay::Limits;
use lanrage_shared::api::relay::{ControlMessage, RelayMessage};
use lanrage_shared::ids::Pin;
use lanrage_tls::identity::ServerIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use control::{Control, TOKEN, removal};

/// A relay in this process, with its data in a directory.
struct Relay {
    handle: RelayHandle,
    stop: CancellationToken,
    registering: tokio::task::JoinHandle<()>,
}

impl Relay {
    fn start(control: &Control, data_dir: &Path, token: &str) -> Self {
        let identity = ServerIdentity::open(data_dir).unwrap();
        let settings = RelaySettings {
            id: "fra-1".parse().unwrap(),
            listen_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            limits: Limits::default(),
        };
        let server = RelayServer::bind(settings, &identity).unwrap();
        let handle = server.handle();
        let announcement = Announcement {
            region: "eu-west".into(),
            host: Some("fra-1.example".into()),
            port: 443,
            pin: identity.pin,
        };
        let token = RegisterToken::new(token).unwrap();
        let registration = Registration::open(
            control.link.clone(),
            token,
            announcement,
            handle.clone(),
            data_dir.to_owned(),
        )
        .unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        let registering = tokio::spawn(registration.run(stop.clone()));
        Self {
            handle,
            stop,
            registering,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.registering.await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_registers_and_says_how_it_is_doing() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let relay = Relay::start(&control, dir.path(), TOKEN);
    let mut link = control.link_opened().await;
    let RelayMessage::Register {
        id,
        region,
        host,
        port,
        since,
        capacity,
        ..
    } = link.said().await
    else {
        panic!("not the first message");
    };
    assert_eq!(
        (id.as_str(), region.as_str(), port, since),
        ("fra-1", "eu-west", 443, 0)
    );
    assert_eq!((host.as_deref(), capacity), (Some("fra-1.example"), 10_000));
    link.welcome(0).await;
    let RelayMessage::Health { health } = link.said().await else {
        panic!("no report");
    };
    assert_eq!((health.sessions, health.capacity, health.load), (0, 10_000, 0));
    relay.stop().await;
}

#[tokio::test]
async fn revocations_are_acknowledged_and_known_after_a_restart_without_the_server() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let relay = Relay::start(&control, dir.path(), TOKEN);
    let mut link = control.link_opened().await;
    link.register_since(0).await;
    link.welcome(2).await;
    for seq in [1, 2] {
        let revocation = removal(seq, 5);
        link.say(&ControlMessage::Revoked { revocation }).await;
    }
    link.applied(2).await;
    relay.stop().await;
    drop(link);
    control.stop();

    let relay = Relay::start(&control, dir.path(), TOKEN);
    assert_eq!(relay.handle.known().seq, 2);
    assert_eq!(relay.handle.known().parties.len(), 1);
    assert_eq!(relay.handle.known().parties[0].epoch, 5);
    relay.stop().await;
}

#[tokio::test]
async fn a_broken_link_is_taken_up_where_it_ended() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let relay = Relay::start(&control, dir.path(), TOKEN);
    let mut link = control.link_opened().await;
    link.register_since(0).await;
    link.welcome(7).await;
    let revocation = removal(7, 2);
    link.say(&ControlMessage::Revoked { revocation }).await;
    link.applied(7).await;
    drop(link);
    let mut link = control.link_opened().await;
    link.register_since(7).await;
    relay.stop().await;
}

#[tokio::test]
async fn what_was_kept_of_another_server_or_is_damaged_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("relay-state.json");
    let control = Control::start().await;
    let of_another = serde_json::json!({
        "control": Pin([9; 32]), "token_key": null, "revocations": {"seq": 9, "parties": []},
    });
    for text in [of_another.to_string(), "{\"contr".into(), String::new()] {
        std::fs::write(&file, text).unwrap();
        let relay = Relay::start(&control, dir.path(), TOKEN);
        assert_eq!(relay.handle.known().seq, 0);
        relay.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_register_token_or_key_opens_no_link() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let wrong_token = Relay::start(&control, dir.path(), "guess");
    control.refused().await;
    wrong_token.stop().await;

    control.link.pin = Pin([1; 32]);
    let wrong_key = Relay::start(&control, dir.path(), TOKEN);
    control.handshake_failed().await;
    wrong_key.stop().await;
    assert!(control.no_links());
}

#[tokio::test]
async fn metrics_tell_what_was_counted() {
    let (mut control, dir) = (Control::start().await, tempfile::tempdir().unwrap());
    let relay = Relay::start(&control, dir.path(), TOKEN);
    control.link_opened().await.register_since(0).await;
    let sources = Sources {
        relay: Some(relay.handle.clone()),
        stun: Arc::default(),
    };
    let metrics = MetricsServer::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = metrics.local_address().unwrap();
    tokio::spawn(metrics.run(registry(sources), relay.stop.clone()));
    let mut answers = Vec::new();
    for path in ["/metrics", "/"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answers.push(answer);
    }
    for line in [
        "lanrage_relay_sessions 0",
        "lanrage_relay_forwarded_frames_total 0",
        "lanrage_relay_dropped_frames_total{reason=\"rate_limited\"} 0",
        "lanrage_relay_handshakes_total{outcome=\"welcomed\"} 0",
        "lanrage_stun_answered_requests_total 0",
        "process_resident_memory_bytes",
        "lanrage_relay_build_info{version=",
    ] {
        assert!(answers[0].contains(line), "{line} in {}", answers[0]);
    }
    assert!(answers[1].starts_with("HTTP/1.1 404"));
    relay.stop().await;
}
