//! Members who talk through a real relay, registered over a real link and in the same process: who is removed is cut off there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{Code, Device, PATIENCE, TestServer, until};
use lanrage_control::relays::OwnRelay;
use lanrage_control::tls::ServerIdentity;
use lanrage_relay::config::LimitsSection;
use lanrage_relay::registration::{Announcement, RegisterToken, Registration};
use lanrage_relay::relay::{RelayServer, RelaySettings};
use lanrage_relay_client::{ConnectError, Connected, Credentials, Event, RelayEndpoint, Target};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::relay::RelayTokens;
use lanrage_shared::ids::PartyId;
use lanrage_shared::invite::ServerLink;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A relay that is bound, and where its key is kept.
fn bind() -> (RelayServer, ServerIdentity, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::open(dir.path()).unwrap();
    let settings = RelaySettings {
        id: "fra-1".parse().unwrap(),
        listen_addresses: vec![Ipv4Addr::LOCALHOST.into()],
        port: 0,
        limits: (&LimitsSection::default()).into(),
    };
    (RelayServer::bind(settings, &identity).unwrap(), identity, dir)
}

fn target(relay: &RelayServer, identity: &ServerIdentity) -> Target {
    Target {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port())),
        pin: identity.pin,
    }
}

async fn credentials(device: &Device, party: PartyId) -> Credentials {
    let mut answer: RelayTokens = device.relay_tokens(party).await.ok();
    Credentials {
        token: answer.tokens.remove(0).token,
        identity: Arc::new(device.identity.clone()),
    }
}

/// As an agent would, until it is let in: the relay takes a moment to read what lets members in.
async fn join(target: Target, device: &Device, party: PartyId) -> Connected {
    let joining = async {
        loop {
            let credentials = credentials(device, party).await;
            if let Ok(connected) = connect(target, &credentials).await {
                return connected;
            }
        }
    };
    timeout(PATIENCE, joining).await.unwrap()
}

async fn connect(target: Target, credentials: &Credentials) -> Result<Connected, ConnectError> {
    let endpoint = RelayEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), Duration::from_secs(5)).unwrap();
    endpoint.connect(target, credentials).await
}

async fn event(connected: &mut Connected) -> Event {
    timeout(PATIENCE, connected.events.next()).await.unwrap()
}

/// Anna and Ben talk through the relay until Anna kicks Ben, who is out at once and stays out.
async fn who_is_kicked_is_cut_off(server: &TestServer, target: Target) {
    until("the relay is offered", || {
        !server.app.relays.services().relays.is_empty()
    })
    .await;
    let (anna, ben) = (Device::new(server, 1).await, Device::new(server, 2).await);
    let code = Code::new(1);
    let hosted = anna.host(&code, None).await;
    let id = hosted.party.id;
    let joined = ben.join(&code, "Ben").await;
    let bens = credentials(&ben, id).await;
    let annas = join(target, &anna, id).await;
    let mut at_ben = connect(target, &bens).await.unwrap();
    annas.sender.send(joined.me, b"hello").unwrap();
    assert!(matches!(event(&mut at_ben).await, Event::Packet { from, .. } if from == hosted.me));

    let asked = Instant::now();
    let _: Party = anna.remove(&joined.party, joined.me, false).await.ok();
    let Event::Ended(error) = event(&mut at_ben).await else {
        panic!("he is still in");
    };
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(!error.message.is_empty());
    let again = connect(target, &bens).await;
    assert!(matches!(again, Err(ConnectError::Refused(_))), "with the token he had");
    ben.relay_tokens(id).await.refused(404, ErrorCode::NotFound);
    join(target, &anna, id).await;
}

#[tokio::test]
async fn who_is_kicked_is_cut_off_at_a_relay_that_runs_elsewhere() {
    let server = TestServer::start().await;
    let (relay, identity, dir) = bind();
    let target = target(&relay, &identity);
    let control = ServerLink {
        host: server.address.ip().to_string(),
        port: server.address.port(),
        pin: server.pin,
    };
    let announcement = Announcement {
        region: "eu-west".into(),
        host: Some("127.0.0.1".into()),
        port: relay.port(),
        pin: identity.pin,
    };
    let token = RegisterToken::new(&server.app.register_token.read().unwrap()).unwrap();
    let handle = relay.handle();
    let registration = Registration::open(control, token, announcement, handle.clone(), dir.path().into()).unwrap();
    let stop = CancellationToken::new();
    let relaying = tokio::spawn(relay.run(stop.clone()));
    let registered = tokio::spawn(registration.run(stop.clone()));
    who_is_kicked_is_cut_off(&server, target).await;
    let id = handle.id().clone();
    until("it is acknowledged", || server.app.relays.applied(&id) == Some(1)).await;
    handle.drain(Duration::ZERO).await;
    until("it is no longer offered", || {
        server.app.relays.services().relays.is_empty()
    })
    .await;
    stop.cancel();
    relaying.await.unwrap();
    registered.await.unwrap();
}

#[tokio::test]
async fn who_is_kicked_is_cut_off_at_the_relay_in_the_same_process() {
    let server = TestServer::start().await;
    let (relay, identity, _dir) = bind();
    let target = target(&relay, &identity);
    let own = OwnRelay::register(server.app.clone(), relay, "home".into(), identity.pin);
    let stop = CancellationToken::new();
    let running = tokio::spawn(own.await.unwrap().run(stop.clone()));
    who_is_kicked_is_cut_off(&server, target).await;
    stop.cancel();
    running.await.unwrap();
}
