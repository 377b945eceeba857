//! One HTTP/1.1 connection: requests one after the other, or the switch to the WebSocket.

use std::fmt;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, IF_MATCH, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lanrage_observe::traces::traceparent;
use lanrage_shared::api::error::ApiError;
use lanrage_shared::ids::DeviceId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::field::Empty;
use tracing::{Span, debug};

use super::ControlError;

/// What a request is called.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Largest answer read. A party of 254 members takes about 120 KiB.
const MAX_ANSWER: usize = 512 * 1024;

/// A request that can be sent again.
pub(super) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    /// Doing it twice does no more than doing it once.
    repeatable: bool,
    /// The version of the party that is to be changed.
    version: Option<u64>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Bytes::new(),
            repeatable: true,
            version: None,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: &impl Serialize) -> Result<Self, ControlError> {
        Self::with_body(Method::POST, path, body)
    }

    pub(super) fn with_body(
        method: Method,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Result<Self, ControlError> {
        let body = serde_json::to_vec(body).map_err(|error| ControlError::Protocol(error.to_string()))?;
        Ok(Self {
            body: body.into(),
            ..Self::new(method, path)
        })
    }

    /// Refused when the party has another version by now; so it may be sent twice.
    pub(super) fn if_version(self, version: u64) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// What traces know of it; no log has it.
    pub(super) fn span(&self, device: DeviceId) -> Span {
        traced(&self.method, &self.path, device)
    }

    /// Not sent a second time when the server may have seen it.
    pub(super) fn once(self) -> Self {
        Self {
            repeatable: false,
            ..self
        }
    }
}

/// The span of a request, or of the stream's beginning.
pub(super) fn traced(method: &Method, path: &str, device: DeviceId) -> Span {
    tracing::trace_span!(
        "ask",
        otel.kind = "client",
        request = Empty,
        %device,
        http.request.method = %method,
        url.path = path
    )
}

/// Why a request got no answer.
pub(super) enum Failed {
    /// The connection broke; another may do.
    Broken { repeatable: bool, why: String },
    /// Trying again changes nothing.
    Final(ControlError),
}

/// What the server answered.
pub(super) struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// The value, or the refusal.
    pub(super) fn into_value<T: DeserializeOwned>(self) -> Result<T, ControlError> {
        if !self.status.is_success() {
            return Err(refusal(self.status, &self.body));
        }
        let body = if self.body.is_empty() { b"null" } else { &self.body[..] };
        serde_json::from_slice(body)
            .map_err(|error| ControlError::Protocol(format!("the server's answer cannot be read ({error})")))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> ControlError {
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => ControlError::Refused(error),
        Err(_) => ControlError::Protocol(format!("the server answered with HTTP status {status}")),
    }
}

/// A connection to the server.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    pub(super) async fn new(io: TlsStream<TcpStream>, authority: String) -> hyper::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(io)).await?;
        // Ends when the sender is dropped, the server hangs up, or the stream has taken the connection over.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "the connection to the control server ended");
            }
        });
        Ok(Self { sender, authority })
    }

    /// Whether the server still keeps it open, as far as this side knows.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, call: &Call, token: Option<&str>) -> Result<Answer, Failed> {
        let mut request = self.request(&call.method, &call.path, token)?;
        if let Some(version) = call.version {
            request
                .headers_mut()
                .insert(IF_MATCH, header(&format!("\"{version}\""))?);
        }
        if !call.body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            *request.body_mut() = Full::new(call.body.clone());
        }
        let response = self.exchange(request, call.repeatable).await?;
        let status = response.status();
        let body = read_body(response, call.repeatable).await?;
        Ok(Answer { status, body })
    }

    /// Turns the connection into a WebSocket's (RFC 6455 §4.1).
    pub(super) async fn upgrade(mut self, path: &str, token: &str) -> Result<TokioIo<Upgraded>, Failed> {
        let mut request = self.request(&Method::GET, path, Some(token))?;
        let key = generate_key();
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, header(&key)?);
        let response = self.exchange(request, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            let body = read_body(response, true).await?;
            return Err(Failed::Final(refusal(status, &body)));
        }
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accepted.map(HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            let why = "the server did not accept the stream properly".to_owned();
            return Err(Failed::Final(ControlError::Protocol(why)));
        }
        hyper::upgrade::on(response)
            .await
            .map(TokioIo::new)
            .map_err(|error| broken(error, true))
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        repeatable: bool,
    ) -> Result<Response<Incoming>, Failed> {
        // Whatever goes wrong here, nothing has been sent.
        self.sender.ready().await.map_err(|error| broken(error, true))?;
        self.sender.try_send_request(request).await.map_err(|mut error| {
            // Given back, so the server cannot have seen it.
            let unsent = error.take_message().is_some();
            broken(error.into_error(), unsent || repeatable)
        })
    }

    fn request(&self, method: &Method, path: &str, token: Option<&str>) -> Result<Request<Full<Bytes>>, Failed> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::default())
            .map_err(impossible)?;
        // The server's log has it too.
        let id = format!("{:016x}", rand::random::<u64>());
        debug!(request = id, %method, path, "asking the control server");
        let headers = request.headers_mut();
        headers.insert(REQUEST_ID, header(&id)?);
        let span = Span::current();
        span.record("request", &id);
        headers.extend(traceparent(&span));
        headers.insert(HOST, header(&self.authority)?);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("lanrage/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(token) = token {
            let mut value = header(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

async fn read_body(response: Response<Incoming>, repeatable: bool) -> Result<Bytes, Failed> {
    match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(broken(error, repeatable)),
    }
}

fn broken(error: impl fmt::Display, repeatable: bool) -> Failed {
    Failed::Broken {
        repeatable,
        why: error.to_string(),
    }
}

fn header(value: &str) -> Result<HeaderValue, Failed> {
    HeaderValue::from_str(value).map_err(impossible)
}

/// A server that hands out a token no header can carry.
fn impossible(error: impl fmt::Display) -> Failed {
    Failed::Final(ControlError::Protocol(format!(
        "the request cannot be written ({error})"
    )))
}
