//! One connection to a server: requests one after the other, or the switch to a WebSocket. As an agent's, but from an address of
//! its own, with small buffers, and each with a whole TLS handshake: a server that was killed remembers nobody.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, IF_MATCH, RETRY_AFTER, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::ids::Pin;
use lanrage_tls::pinned::client_config;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// As an agent's patience with a connection, its handshakes included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// As an agent's patience with an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What a WebSocket reads at once, in bytes; its own default of 128 KiB would be kept for each of thousands.
const READ_BUFFER: usize = 4 * 1024;
/// What HTTP may keep of a connection, in bytes.
const HTTP_BUFFER: usize = 64 * 1024;

pub type Tls = TlsStream<TcpStream>;
pub type Socket = WebSocketStream<Tls>;

/// Where a server is, and how to know it.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub pin: Pin,
    tls: TlsConnector,
}

/// Why there is no answer of the wanted kind.
#[derive(Debug)]
pub enum Refusal {
    /// The server's answer, and when it says to come back.
    Status(StatusCode, Option<Duration>),
    /// There was none.
    Broken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status, _) => write!(f, "{}", status.as_u16()),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refusal {}

impl Target {
    pub fn new(address: SocketAddr, pin: Pin) -> Self {
        let mut config = client_config(pin, &[b"http/1.1"]);
        config.resumption = Resumption::disabled();
        let tls = TlsConnector::from(Arc::new(config));
        Self { address, pin, tls }
    }

    /// A TLS connection from an address of this machine.
    pub async fn dial(&self, source: Ipv4Addr) -> Result<Tls, Refusal> {
        let dialing = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((source, 0)))?;
            let stream = socket.connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.tls.connect(ServerName::IpAddress(source.into()), stream).await
        };
        match timeout(CONNECT_TIMEOUT, dialing).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Refusal::Broken(error.kind().to_string())),
            Err(_) => Err(Refusal::Broken("no connection in time".into())),
        }
    }

    pub async fn connect(&self, source: Ipv4Addr) -> Result<Connection, Refusal> {
        Connection::over(self.dial(source).await?).await
    }
}

/// HTTP on a connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn over(tls: Tls) -> Result<Self, Refusal> {
        let mut http = http1::Builder::new();
        let handshake = http.max_buf_size(HTTP_BUFFER).handshake(TokioIo::new(tls));
        let (sender, connection) = handshake.await.map_err(broken)?;
        // Ends with the sender, the server, or the switch to a WebSocket.
        tokio::spawn(connection.with_upgrades());
        Ok(Self { sender })
    }

    /// Sends a request with a token, if any, and gives the answer's body if it is a success.
    pub async fn ask(&mut self, method: Method, path: &str, token: &str, body: Bytes) -> Result<Bytes, Refusal> {
        let request = Request::builder().method(method).uri(path);
        self.send(request, token, body).await
    }

    /// Changes a party that still has this version.
    pub async fn update(
        &mut self,
        path: &str,
        token: &str,
        version: u64,
        update: &UpdateParty,
    ) -> Result<Party, Refusal> {
        let request = Request::builder().method(Method::PATCH).uri(path);
        let request = request.header(IF_MATCH, format!("\"{version}\""));
        let body = serde_json::to_vec(update).map_err(broken)?;
        let answer = self.send(request, token, body.into()).await?;
        serde_json::from_slice(&answer).map_err(broken)
    }

    async fn send(&mut self, request: request::Builder, token: &str, body: Bytes) -> Result<Bytes, Refusal> {
        let mut request = request.header(HOST, "server");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(broken)?;
        let response = self.exchange(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(&response));
        }
        let body = timeout(REQUEST_TIMEOUT, response.into_body().collect()).await;
        let body = body.map_err(broken)?.map_err(broken)?;
        Ok(body.to_bytes())
    }

    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, token: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body)?;
        let answer = self.ask(Method::POST, path, token, body.into()).await;
        let answer = answer.with_context(|| format!("POST {path}"))?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Turns the connection into a WebSocket's (RFC 6455 §4.1).
    pub async fn upgrade(mut self, path: &str, token: &str) -> Result<Socket, Refusal> {
        let request = Request::builder()
            .uri(path)
            .header(HOST, "server")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key());
        let response = self.exchange(request.body(Full::default()).map_err(broken)?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(&response));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
        // HTTP's own layers would be in the way of every message.
        let parts = upgraded.downcast::<TokioIo<Tls>>();
        let parts = parts.map_err(|_| Refusal::Broken("not the connection that was upgraded".into()))?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (tls, rest) = (parts.io.into_inner(), parts.read_buf.to_vec());
        Ok(WebSocketStream::from_partially_read(tls, rest, Role::Client, Some(config)).await)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<hyper::body::Incoming>, Refusal> {
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let response = timeout(REQUEST_TIMEOUT, exchange).await;
        response
            .map_err(|_| Refusal::Broken("no answer in time".into()))?
            .map_err(broken)
    }
}

fn refused<B>(response: &Response<B>) -> Refusal {
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    Refusal::Status(response.status(), seconds.map(Duration::from_secs))
}

fn broken(error: impl fmt::Display) -> Refusal {
    Refusal::Broken(error.to_string())
}
