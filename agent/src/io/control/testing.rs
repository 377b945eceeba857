//! A control server of a few lines: enough of the API to show how the client behaves, over real TLS on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::auth::TokenRequest;
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::party::Party;
use lanrage_shared::ids::{MemberId, PartyId, Pin};
use lanrage_shared::invite::ServerLink;
use lanrage_shared::keys::token_proof;
use lanrage_shared::stream::{ClientMessage, ServerMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// How the server behaves, and what it saw.
#[derive(Default)]
pub(super) struct Behaviour {
    /// What the server's clock shows.
    pub(super) time_ms: u64,
    /// Tokens last this long.
    pub(super) token_lifetime_s: u64,
    /// Every token but the newest counts as expired.
    pub(super) expire_tokens: Mutex<bool>,
    /// Presents this key although its certificate names another.
    pub(super) stolen_certificate: bool,
    /// Hangs up after every answer, saying nothing.
    pub(super) hang_up: bool,
    pub(super) connections: AtomicUsize,
    pub(super) tokens: AtomicUsize,
    pub(super) requests: Mutex<Vec<String>>,
}

pub(super) struct Server {
    pub(super) link: ServerLink,
    pub(super) seen: Arc<Behaviour>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn party_id() -> PartyId {
    PartyId("00000000-0000-7000-8000-000000000001".parse().unwrap())
}

pub(super) fn party() -> Party {
    Party {
        id: party_id(),
        name: "Friday".parse().unwrap(),
        host: MemberId(1),
        epoch: 1,
        secret_epoch: 1,
        version: 1,
        persistent: false,
        max_members: 64,
        locked: false,
        net: PartyNet::at(0, party_id()),
        created_at_ms: 0,
        members: Vec::new(),
    }
}

impl Server {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["somebody.else".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let pin = Pin::of_spki(&spki(certificate.der()));
        let presented = if behaviour.stolen_certificate {
            rcgen::KeyPair::generate().unwrap()
        } else {
            key
        };
        let acceptor = acceptor(certificate.der().clone(), &presented);
        let seen = Arc::new(behaviour);
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&seen), pin));
        Self {
            link: link(address, pin),
            seen,
            task,
        }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

pub(super) fn link(address: SocketAddr, pin: Pin) -> ServerLink {
    ServerLink {
        host: address.ip().to_string(),
        port: address.port(),
        pin,
    }
}

fn spki(certificate: &CertificateDer<'_>) -> Vec<u8> {
    rustls::server::ParsedCertificate::try_from(certificate)
        .unwrap()
        .subject_public_key_info()
        .to_vec()
}

/// Signs with `key` whatever the certificate says: what somebody in between can do who copied the certificate.
fn acceptor(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> TlsAcceptor {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![certificate], key);
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Behaviour>, pin: Pin) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let hang_up = seen.hang_up;
            let service = service_fn(move |request| answer(request, Arc::clone(&seen), pin));
            let _ = hyper::server::conn::http1::Builder::new()
                .keep_alive(!hang_up)
                .serve_connection(TokioIo::new(tls), service)
                .with_upgrades()
                .await;
        });
    }
}

type Answer = Result<Response<Full<Bytes>>, hyper::Error>;

async fn answer(request: Request<Incoming>, seen: Arc<Behaviour>, pin: Pin) -> Answer {
    let path = request.uri().path().to_owned();
    seen.requests
        .lock()
        .unwrap()
        .push(format!("{} {path}", request.method()));
    let newest = format!("Bearer token-{}", seen.tokens.load(Ordering::SeqCst));
    let shown = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap());
    if !path.starts_with("/v1/auth/") {
        let expired = std::mem::take(&mut *seen.expire_tokens.lock().unwrap());
        if expired || shown != Some(newest.as_str()) {
            return refuse(StatusCode::UNAUTHORIZED, ErrorCode::TokenExpired);
        }
    }
    match path.as_str() {
        "/v1/auth/challenge" => json_answer(json!({"nonce": "abc", "server_time_ms": seen.time_ms})),
        "/v1/auth/token" => {
            let body = request.into_body().collect().await?.to_bytes();
            let proof: TokenRequest = serde_json::from_slice(&body).unwrap();
            let message = token_proof(&pin, "abc", &proof.device_key);
            assert!(proof.identity_key.verifies(&message, &proof.signature));
            let number = seen.tokens.fetch_add(1, Ordering::SeqCst) + 1;
            json_answer(json!({
                "token": format!("token-{number}"),
                "expires_in_s": seen.token_lifetime_s,
                "device": "00000000000000000000000000000000",
            }))
        }
        "/v1/stream" => Ok(upgrade(request)),
        "/v1/invites/redeem" => refuse(StatusCode::GONE, ErrorCode::InviteUsed),
        path if path.ends_with("/members/me") => Ok(Response::builder()
            .status(StatusCode::NO_CONTENT)
            .body(Full::default())
            .unwrap()),
        path if path.ends_with("/invites") => Ok(Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Full::from("<html>"))
            .unwrap()),
        _ => json_answer(serde_json::to_value(party()).unwrap()),
    }
}

fn json_answer(value: serde_json::Value) -> Answer {
    Ok(Response::new(Full::from(value.to_string())))
}

fn refuse(status: StatusCode, code: ErrorCode) -> Answer {
    let body = serde_json::to_vec(&ApiError::new(code, "the server's sentence")).unwrap();
    Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
}

/// The stream: a ping and an unknown message, then everything the client says comes back as a refusal that quotes it; after
/// a `Presence` the server hangs up.
fn upgrade(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes().to_vec();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgraded.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        socket.send(Message::text("{\"type\":\"of_tomorrow\"}")).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            let heard = match message {
                Message::Text(text) => text.to_string(),
                Message::Pong(_) => "pong".to_owned(),
                _ => continue,
            };
            if heard.contains("presence") {
                return;
            }
            let error = ApiError::new(ErrorCode::BadRequest, heard);
            let text = ServerMessage::Refused { error }.to_text();
            socket.send(Message::text(text)).await.unwrap();
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(&key))
        .body(Full::default())
        .unwrap()
}

pub(super) fn hello() -> ClientMessage {
    ClientMessage::Hello {
        party: party_id(),
        since: None,
        secret_epoch: 1,
    }
}
