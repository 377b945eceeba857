use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::Pin;
use lanrage_shared::invite::InviteCode;
use lanrage_shared::keys::DeviceSecret;
use lanrage_shared::stream::ServerMessage;

use super::testing::{Behaviour, Server, hello, link, party, party_id};
use super::*;
use crate::api::Failure;

fn client(link: ServerLink) -> ControlClient {
    let identity = Arc::new(IdentitySecret::from_bytes([1; 32]));
    ControlClient::new(link, identity, DeviceSecret::from_bytes([2; 32]).public())
}

fn usual() -> Behaviour {
    Behaviour {
        token_lifetime_s: 900,
        ..Behaviour::default()
    }
}

fn redeem() -> RedeemInvite {
    RedeemInvite {
        auth: InviteCode::from_entropy([0; 13]).auth(),
        member_name: "Anna".parse().unwrap(),
        lans: Vec::new(),
    }
}

#[tokio::test]
async fn requests_share_one_connection_and_one_token() {
    let server = Server::start(usual()).await;
    let client = client(server.link.clone());
    assert_eq!(client.server_ip(), None);
    assert_eq!(client.party(party_id()).await.unwrap(), party());
    client.leave(party_id()).await.unwrap();
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen.tokens.load(Ordering::SeqCst), 1);
    assert_eq!(client.server_ip(), Some("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn a_server_with_another_key_is_not_talked_to() {
    let server = Server::start(usual()).await;
    let link = ServerLink {
        pin: Pin([7; 32]),
        ..server.link.clone()
    };
    let error = client(link.clone()).party(party_id()).await.unwrap_err();
    let wrong_key = ControlError::WrongKey {
        server: link.authority(),
    };
    assert_eq!(error, wrong_key);
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn the_right_certificate_without_its_key_is_not_enough() {
    let server = Server::start(Behaviour {
        stolen_certificate: true,
        ..usual()
    })
    .await;
    let error = client(server.link.clone()).party(party_id()).await.unwrap_err();
    assert!(matches!(error, ControlError::Protocol(_)), "{error:?}");
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_connection_is_told_with_its_reason() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(link(nobody, Pin([0; 32]))).party(party_id()).await.unwrap_err();
    let failure = Failure::from(error);
    assert_eq!(failure.code, "server_unreachable");
    assert!(failure.message.contains(&nobody.to_string()), "{failure}");
    assert!(failure.message.contains("connection refused"), "{failure}");
}

#[tokio::test]
async fn something_that_is_not_a_lanrage_server_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut Vec::new()).await;
    });
    let error = client(link(address, Pin([0; 32]))).party(party_id()).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_refusal_keeps_the_servers_code_and_anything_else_is_explained() {
    let server = Server::start(usual()).await;
    let client = client(server.link.clone());
    let refused = Failure::from(client.redeem(&redeem()).await.unwrap_err());
    assert_eq!(refused, Failure::new("invite_used", "the server's sentence"));
    let invite = NewInvite {
        auth_hash: String::new(),
        sealed_secret: String::new(),
        secret_epoch: None,
        expires_in_s: 60,
        max_uses: None,
    };
    let strange = client.create_invite(party_id(), &invite).await.unwrap_err();
    assert!(strange.to_string().contains("502"), "{strange}");
}

#[tokio::test]
async fn a_token_the_server_no_longer_takes_is_renewed_once() {
    let server = Server::start(usual()).await;
    let client = client(server.link.clone());
    client.party(party_id()).await.unwrap();
    *server.seen.expire_tokens.lock().unwrap() = true;
    client.party(party_id()).await.unwrap();
    assert_eq!(server.seen.tokens.load(Ordering::SeqCst), 2);

    *server.seen.expire_tokens.lock().unwrap() = true;
    client.open_stream(hello()).await.unwrap();
    assert_eq!(server.seen.tokens.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_token_about_to_end_is_renewed_before_it_is_used() {
    let server = Server::start(Behaviour {
        token_lifetime_s: 30,
        ..usual()
    })
    .await;
    let client = client(server.link.clone());
    client.party(party_id()).await.unwrap();
    client.party(party_id()).await.unwrap();
    assert_eq!(server.seen.tokens.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_hangs_up_after_each_answer_is_connected_to_anew() {
    let server = Server::start(Behaviour {
        hang_up: true,
        ..usual()
    })
    .await;
    let client = client(server.link.clone());
    assert_eq!(client.party(party_id()).await.unwrap(), party());
    assert_eq!(server.requests().len(), 3);
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_servers_clock_is_learned_with_the_first_request() {
    let ahead_ms = 6 * 3600 * 1000;
    let behind = Server::start(Behaviour {
        time_ms: u64::try_from(clock::wall_ms() - ahead_ms).unwrap(),
        ..usual()
    })
    .await;
    let client = client(behind.link.clone());
    assert_eq!(client.server_clock(), None);
    client.authenticate().await.unwrap();
    let offset = client.server_clock().unwrap();
    assert!((offset.offset_ms + ahead_ms).abs() < 60_000, "{offset:?}");
    assert_eq!(check_clock(offset).unwrap_err().code, "clock_wrong");
}

#[tokio::test]
async fn the_stream_takes_over_the_warm_connection() {
    let server = Server::start(usual()).await;
    let client = client(server.link.clone());
    client.party(party_id()).await.unwrap();
    let mut stream = client.open_stream(hello()).await.unwrap();
    // The client answered the ping, passed over the message it does not know, and said hello.
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        match stream.next().await.unwrap() {
            ServerMessage::Refused { error } => heard.insert(error.message),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(heard, BTreeSet::from(["pong".to_owned(), hello().to_text()]));
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_the_server_drops_ends_with_an_error() {
    let server = Server::start(usual()).await;
    let stream = client(server.link.clone()).open_stream(hello()).await.unwrap();
    let (mut sink, mut source) = stream.split();
    let presence = Presence::default();
    sink.send(&ClientMessage::Presence { presence }).await.unwrap();
    let ended = loop {
        if let Err(error) = source.next().await {
            break error;
        }
    };
    assert!(matches!(ended, ControlError::Unreachable { .. }), "{ended:?}");
}
