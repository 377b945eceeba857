//! The WebSocket to the control server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lanrage_relay_client::transport::tune_tcp;
use lanrage_shared::api::relay::{ControlMessage, MAX_LINK_MESSAGE, RelayMessage};
use lanrage_shared::invite::ServerLink;
use lanrage_tls::pinned::{client_config, failed_by_wrong_key};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use zeroize::Zeroizing;

use super::LinkError;

/// For look-up, TCP, TLS and upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that takes nothing for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Each health report goes with a ping, every 5 s; three unanswered ones mean that nobody is there.
const SILENCE: Duration = Duration::from_secs(15);

/// What lets a relay register. It does not print itself.
#[derive(Clone)]
pub struct RegisterToken(Zeroizing<String>);

impl RegisterToken {
    /// From its text; none when that is empty.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// From a file that holds it.
    pub fn from_file(path: &Path) -> io::Result<Option<Self>> {
        Ok(Self::new(&Zeroizing::new(std::fs::read_to_string(path)?)))
    }
}

impl std::fmt::Debug for RegisterToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegisterToken(…)")
    }
}

/// An open link.
pub(super) struct Link {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    server: String,
    heard: Instant,
}

impl Link {
    pub(super) async fn open(control: &ServerLink, token: &RegisterToken) -> Result<Self, LinkError> {
        timeout(CONNECT_TIMEOUT, connect(control, token))
            .await
            .unwrap_or_else(|_| Err(unreachable(&control.authority(), "no answer within 10 s")))
    }

    /// The next message. Messages of a kind this version does not know are passed over. 15 s without a sign of life, and
    /// everything that ends the link, is an error. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<ControlMessage, LinkError> {
        loop {
            let received = timeout_at(self.heard + SILENCE, self.socket.next())
                .await
                .map_err(|_| unreachable(&self.server, "it has been silent for 15 s"))?
                .ok_or_else(|| unreachable(&self.server, "it hung up"))?
                .map_err(|error| broken(&self.server, error))?;
            self.heard = Instant::now();
            match received {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(message) => return Ok(message),
                    Err(error) => tracing::debug!(%error, "passed over a message of the control server"),
                },
                Message::Close(_) => return Err(unreachable(&self.server, "it hung up")),
                // Pings are answered by the socket when it is next polled, which is now.
                _ => {}
            }
        }
    }

    /// Sends a message; after a health report, a ping.
    pub(super) async fn send(&mut self, message: &RelayMessage) -> Result<(), LinkError> {
        let text = serde_json::to_string(message).map_err(|error| LinkError::Protocol {
            server: self.server.clone(),
            why: error.to_string(),
        })?;
        let sending = async {
            self.socket.feed(Message::text(text)).await?;
            if matches!(message, RelayMessage::Health { .. }) {
                self.socket.feed(Message::Ping(Bytes::new())).await?;
            }
            self.socket.flush().await
        };
        match timeout(SEND_TIMEOUT, sending).await {
            Ok(sent) => sent.map_err(|error| broken(&self.server, error)),
            Err(_) => Err(unreachable(&self.server, "it takes no more messages")),
        }
    }
}

async fn connect(control: &ServerLink, token: &RegisterToken) -> Result<Link, LinkError> {
    let server = control.authority();
    let protocol = |why: String| LinkError::Protocol {
        server: server.clone(),
        why,
    };
    let tcp = TcpStream::connect((control.host.as_str(), control.port))
        .await
        .and_then(|tcp| tune_tcp(&tcp).map(|()| tcp))
        .map_err(|error| unreachable(&server, error))?;
    let address = tcp.peer_addr().map_err(|error| unreachable(&server, error))?;
    // A host that cannot be a TLS name is still a host; the pin is what counts.
    let name =
        ServerName::try_from(control.host.clone()).unwrap_or_else(|_| ServerName::IpAddress(address.ip().into()));
    let connector = TlsConnector::from(Arc::new(client_config(control.pin, &[b"http/1.1"])));
    let tls = connector.connect(name, tcp).await.map_err(|error| match error {
        error if failed_by_wrong_key(&error) => LinkError::WrongKey { server: server.clone() },
        error if error.kind() == io::ErrorKind::InvalidData => protocol(error.to_string()),
        error => unreachable(&server, error),
    })?;
    let uri: Uri = format!("wss://{server}/v1/relay-link")
        .parse()
        .map_err(|_| protocol("its address is no host name".to_owned()))?;
    let request = ClientRequestBuilder::new(uri).with_header("Authorization", format!("Bearer {}", token.0.as_str()));
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_LINK_MESSAGE))
        .max_frame_size(Some(MAX_LINK_MESSAGE));
    let (socket, _) = client_async_with_config(request, tls, Some(config))
        .await
        .map_err(|error| match error {
            Error::Http(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                LinkError::TokenRefused { server: server.clone() }
            }
            error => broken(&server, error),
        })?;
    Ok(Link {
        socket,
        heard: Instant::now(),
        server,
    })
}

fn unreachable(server: &str, why: impl ToString) -> LinkError {
    LinkError::Unreachable {
        server: server.to_owned(),
        why: why.to_string(),
    }
}

fn broken(server: &str, error: Error) -> LinkError {
    match error {
        Error::Io(error) => unreachable(server, error),
        Error::ConnectionClosed | Error::AlreadyClosed => unreachable(server, "it hung up"),
        Error::Http(answer) => unreachable(server, format!("it answers {}", answer.status())),
        error => LinkError::Protocol {
            server: server.to_owned(),
            why: error.to_string(),
        },
    }
}
