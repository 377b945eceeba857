//! Connecting over QUIC.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::ids::Pin;
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::wire::relay::{ALPN, EXPORTER_LABEL, FromRelay, Hello, ToRelay, hello_proof};
use lanrage_tls::pinned::client_config;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, TokenMemoryCache, TransportErrorCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::events::RelayEvents;
use crate::sender::{CONTROL_QUEUE, Link, RelaySender};
use crate::{ConnectError, control, events, transport};

/// For handshake and hello together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The TLS alert of a certificate the verifier does not accept (RFC 8446 §6: access_denied): ours has the wrong key.
const ALERT_WRONG_KEY: u8 = 49;

/// Where a relay is, and which key it must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub pin: Pin,
}

/// What lets a member in.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// A token for this relay.
    pub token: String,
    /// The identity the token names.
    pub identity: Arc<IdentitySecret>,
}

/// A session at a relay.
#[derive(Debug)]
pub struct Connected {
    pub sender: RelaySender,
    /// Has to be listened to. Dropping it ends the session.
    pub events: RelayEvents,
    /// When the session ends unless renewed, in Unix seconds of the control server.
    pub expires_at: u64,
}

/// A UDP socket for connections to any number of relays.
#[derive(Debug, Clone)]
pub struct RelayEndpoint {
    endpoint: quinn::Endpoint,
    keep_alive: Duration,
    /// What relays gave to prove this address with on the next connection, which saves a round trip.
    address_tokens: Arc<TokenMemoryCache>,
}

impl Credentials {
    pub(crate) fn hello(&self, exported: &[u8; 32]) -> Hello {
        Hello {
            token: self.token.clone(),
            signature: self.identity.sign(&hello_proof(exported, &self.token)),
        }
    }
}

impl RelayEndpoint {
    /// Binds a socket. `keep_alive` is how often an idle connection is kept alive: less than the NAT's patience, and than
    /// [`transport::IDLE_TIMEOUT`]. Must be called within a tokio runtime.
    pub fn bind(at: SocketAddr, keep_alive: Duration) -> io::Result<Self> {
        let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("there is no runtime"))?;
        let socket = transport::bind_udp(at, false)?;
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
        Ok(Self {
            endpoint,
            keep_alive,
            address_tokens: Arc::new(TokenMemoryCache::default()),
        })
    }

    /// A socket on a free port of every address, IPv6 where there is any.
    pub fn bind_any(keep_alive: Duration) -> io::Result<Self> {
        Self::bind((Ipv6Addr::UNSPECIFIED, 0).into(), keep_alive)
            .or_else(|_| Self::bind((Ipv4Addr::UNSPECIFIED, 0).into(), keep_alive))
    }

    /// Goes on from another socket, after the network changed. Connections stay, and ask at once whether the relay hears them.
    pub fn rebind(&self) -> io::Result<()> {
        let any: IpAddr = match self.local_address()? {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.endpoint.rebind(transport::bind_udp((any, 0).into(), false)?)
    }

    /// Where its socket is.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// A session at the relay, or why there is none within 5 s.
    pub async fn connect(&self, target: Target, credentials: &Credentials) -> Result<Connected, ConnectError> {
        let late = || ConnectError::Unreachable {
            relay: target.address,
            why: "no answer over UDP within 5 s".to_owned(),
        };
        timeout(CONNECT_TIMEOUT, self.open(target, credentials))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn open(&self, target: Target, credentials: &Credentials) -> Result<Connected, ConnectError> {
        let relay = target.address;
        let protocol = |why: String| ConnectError::Protocol { relay, why };
        let crypto = QuicClientConfig::try_from(client_config(target.pin, &[ALPN]))
            .map_err(|error| protocol(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config
            .transport_config(Arc::new(transport::for_agent(Some(self.keep_alive))))
            .token_store(Arc::clone(&self.address_tokens) as Arc<_>);
        let unreachable = |error: quinn::ConnectError| ConnectError::Unreachable {
            relay,
            why: error.to_string(),
        };
        let connecting = self
            .endpoint
            .connect_with(config, self.reachable(relay), &server_name(target.pin))
            .map_err(unreachable)?;
        let connection = connecting.await.map_err(|error| failed(relay, &error))?;
        let mut exported = [0; 32];
        connection
            .export_keying_material(&mut exported, EXPORTER_LABEL, b"")
            .map_err(|_| protocol("its TLS session exports no key".to_owned()))?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| failed(relay, &error))?;
        let said = control::write(&mut send, &credentials.hello(&exported)).await;
        let answer = match said {
            Ok(()) => control::read(&mut receive).await,
            Err(error) => Err(error),
        };
        let expires_at = match answer {
            Ok(Some(FromRelay::Welcome { expires_at })) => expires_at,
            Ok(Some(FromRelay::Bye { error })) => return Err(ConnectError::Refused(error)),
            Ok(Some(_)) => return Err(protocol("it does not answer the hello".to_owned())),
            Ok(None) | Err(_) => return Err(closed(relay, &connection)),
        };
        let (control, to_write) = mpsc::channel(CONTROL_QUEUE);
        let (received, events) = mpsc::channel(CONTROL_QUEUE);
        tokio::spawn(write_control(send, to_write));
        tokio::spawn(read_control(receive, received));
        Ok(Connected {
            sender: RelaySender::new(Link::Quic {
                connection: connection.clone(),
                control,
                exported,
            }),
            events: RelayEvents::quic(connection, events),
            expires_at,
        })
    }

    /// An IPv4 address as a socket for both families wants it.
    fn reachable(&self, address: SocketAddr) -> SocketAddr {
        match (address, self.local_address()) {
            (SocketAddr::V4(v4), Ok(SocketAddr::V6(_))) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            _ => address,
        }
    }
}

/// The name in the TLS handshake. The relay's key is what counts; the name tells relays apart for what is remembered of them.
pub(crate) fn server_name(pin: Pin) -> String {
    let [a, b, c, d, e, f, g, h, ..] = pin.0;
    format!("relay-{:016x}", u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

async fn write_control(mut stream: quinn::SendStream, mut messages: mpsc::Receiver<ToRelay>) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = control::write(&mut stream, &message).await {
            return tracing::debug!(%error, "a control message could not be sent to the relay");
        }
    }
}

async fn read_control(mut stream: quinn::RecvStream, messages: mpsc::Sender<FromRelay>) {
    loop {
        match control::read(&mut stream).await {
            Ok(Some(message)) => {
                if messages.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "the relay's control channel ended"),
        }
    }
}

fn closed(relay: SocketAddr, connection: &quinn::Connection) -> ConnectError {
    match connection.close_reason() {
        Some(error) => failed(relay, &error),
        None => ConnectError::Protocol {
            relay,
            why: "it ended the control channel".to_owned(),
        },
    }
}

fn failed(relay: SocketAddr, error: &ConnectionError) -> ConnectError {
    match error {
        ConnectionError::TransportError(error) if error.code == TransportErrorCode::crypto(ALERT_WRONG_KEY) => {
            ConnectError::WrongKey { relay }
        }
        ConnectionError::TransportError(_) | ConnectionError::VersionMismatch => ConnectError::Protocol {
            relay,
            why: error.to_string(),
        },
        ConnectionError::ApplicationClosed(close) => match events::bye(close) {
            Some(error) => ConnectError::Refused(error),
            None => ConnectError::Unreachable {
                relay,
                why: "it hung up".to_owned(),
            },
        },
        _ => ConnectError::Unreachable {
            relay,
            why: error.to_string(),
        },
    }
}
