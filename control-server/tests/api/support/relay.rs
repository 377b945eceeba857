//! The relay's end of its link.

use futures_util::{SinkExt, StreamExt};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::relay::{ControlMessage, RelayHealth, RelayMessage, Revocation};
use lanrage_shared::ids::{IdentityKey, Pin, RelayId};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{PATIENCE, TestServer, connect, until};

pub struct Relay {
    pub id: RelayId,
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Relay {
    /// A link that has not registered; the status it was refused with otherwise.
    pub async fn connect(server: &TestServer, id: &str, token: &str) -> Result<Self, u16> {
        let tls = connect(server.target()).await.unwrap();
        let mut request = "wss://server/v1/relay-link".into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        match tokio_tungstenite::client_async(request, tls).await {
            Ok((socket, _)) => Ok(Self {
                id: id.parse().unwrap(),
                socket,
            }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A relay that has registered and been welcomed: the key of tokens, and the last revocation there is.
    pub async fn start(server: &TestServer, id: &str, since: u64) -> (Self, IdentityKey, u64) {
        let token = server.app.register_token.read().unwrap();
        let mut relay = Self::connect(server, id, &token).await.unwrap();
        relay.say(&relay.registration("eu-west", since)).await;
        match relay.next().await {
            ControlMessage::Welcome {
                token_key, last_seq, ..
            } => {
                let id = relay.id.clone();
                until("it is registered", || server.app.relays.applied(&id).is_some()).await;
                (relay, token_key, last_seq)
            }
            other => panic!("not a welcome: {other:?}"),
        }
    }

    pub fn registration(&self, region: &str, since: u64) -> RelayMessage {
        RelayMessage::Register {
            id: self.id.clone(),
            region: region.into(),
            host: Some("relay.example".into()),
            port: 4443,
            pin: Pin([7; 32]),
            capacity: 1000,
            since,
        }
    }

    pub async fn say(&mut self, message: &RelayMessage) {
        self.say_text(&serde_json::to_string(message).unwrap()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn report(&mut self, load: u8) {
        let health = RelayHealth {
            load,
            ..RelayHealth::default()
        };
        self.say(&RelayMessage::Health { health }).await;
    }

    /// The next message; none when the server has closed.
    pub async fn try_next(&mut self) -> Option<ControlMessage> {
        let text = timeout(PATIENCE, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        });
        let text = text.await.expect("a message comes in time")?;
        Some(serde_json::from_str(&text).unwrap())
    }

    pub async fn next(&mut self) -> ControlMessage {
        self.try_next().await.expect("the link is open")
    }

    pub async fn revoked(&mut self) -> Revocation {
        match self.next().await {
            ControlMessage::Revoked { revocation } => revocation,
            other => panic!("not a revocation: {other:?}"),
        }
    }

    /// Skips to the server's parting words, after which it closes.
    pub async fn bye(&mut self) -> ErrorCode {
        loop {
            if let ControlMessage::Bye { error } = self.next().await {
                assert!(self.try_next().await.is_none());
                return error.code;
            }
        }
    }
}
