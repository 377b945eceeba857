//! A control server's end of the relay link.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lanrage_shared::api::relay::{ControlMessage, RelayMessage, Revocation};
use lanrage_shared::ids::{IdentityKey, PartyId};
use lanrage_shared::invite::ServerLink;
use lanrage_tls::identity::ServerIdentity;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

pub const TOKEN: &str = "a register token";
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Control {
    pub link: ServerLink,
    attempts: mpsc::UnboundedReceiver<Attempt>,
    accepting: JoinHandle<()>,
}

enum Attempt {
    Link(Box<Link>),
    Refused,
    HandshakeFailed,
}

/// An open link.
pub struct Link(WebSocketStream<TlsStream<TcpStream>>);

pub fn removal(seq: u64, epoch: u32) -> Revocation {
    Revocation {
        seq,
        party: PartyId(Uuid::from_u128(1)),
        epoch,
        removed: vec![IdentityKey([4; 32])],
    }
}

impl Control {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::open(dir.path()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = ServerLink {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            pin: identity.pin,
        };
        let (attempt, attempts) = mpsc::unbounded_channel();
        let tls = TlsAcceptor::from(Arc::new(identity.tls(&[b"http/1.1"])));
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let _ = attempt.send(accept(tcp, &tls).await);
            }
        });
        Self {
            link,
            attempts,
            accepting,
        }
    }

    /// Hangs up on whoever comes.
    pub fn stop(&self) {
        self.accepting.abort();
    }

    pub async fn link_opened(&mut self) -> Link {
        match timeout(PATIENCE, self.attempts.recv()).await.unwrap().unwrap() {
            Attempt::Link(link) => *link,
            _ => panic!("no link was opened"),
        }
    }

    pub async fn refused(&mut self) {
        let attempt = timeout(PATIENCE, self.attempts.recv()).await.unwrap();
        assert!(matches!(attempt, Some(Attempt::Refused)));
    }

    pub async fn handshake_failed(&mut self) {
        loop {
            match timeout(PATIENCE, self.attempts.recv()).await.unwrap().unwrap() {
                Attempt::HandshakeFailed => return,
                Attempt::Refused => {}
                Attempt::Link(_) => panic!("a link was opened"),
            }
        }
    }

    pub fn no_links(&mut self) -> bool {
        !matches!(self.attempts.try_recv(), Ok(Attempt::Link(_)))
    }
}

#[expect(clippy::result_large_err, reason = "the shape of tungstenite's callback")]
async fn accept(tcp: TcpStream, tls: &TlsAcceptor) -> Attempt {
    let Ok(stream) = tls.accept(tcp).await else {
        return Attempt::HandshakeFailed;
    };
    let check = |request: &Request, response: Response| {
        let bearer = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if request.uri().path() == "/v1/relay-link" && bearer == Some(&format!("Bearer {TOKEN}")) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
        Err(refusal)
    };
    match tokio_tungstenite::accept_hdr_async(stream, check).await {
        Ok(socket) => Attempt::Link(Box::new(Link(socket))),
        Err(_) => Attempt::Refused,
    }
}

impl Link {
    pub async fn said(&mut self) -> RelayMessage {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// What it says next beside health reports.
    pub async fn said_else(&mut self) -> RelayMessage {
        loop {
            match self.said().await {
                RelayMessage::Health { .. } => {}
                message => return message,
            }
        }
    }

    pub async fn say(&mut self, message: &ControlMessage) {
        let text = serde_json::to_string(message).unwrap();
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub async fn register_since(&mut self, expected: u64) {
        match self.said_else().await {
            RelayMessage::Register { since, .. } => assert_eq!(since, expected),
            message => panic!("{message:?}"),
        }
    }

    pub async fn welcome(&mut self, last_seq: u64) {
        self.say(&ControlMessage::Welcome {
            token_key: IdentityKey([2; 32]),
            server_time_ms: 1_000_000_000_000,
            last_seq,
        })
        .await;
    }

    /// Waits until everything up to `seq` is in force.
    pub async fn applied(&mut self, wanted: u64) {
        loop {
            match self.said_else().await {
                RelayMessage::Applied { seq } if seq == wanted => return,
                RelayMessage::Applied { .. } => {}
                message => panic!("{message:?}"),
            }
        }
    }
}
