//! HTTPS as an agent does it: the server is who shows the pinned key.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::ids::Pin;
use lanrage_tls::pinned::client_config;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where a server is and which key it must show.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    pub pin: Pin,
}

/// Opens a TLS connection, or says why not.
pub async fn connect(target: Target) -> std::io::Result<TlsStream<TcpStream>> {
    let config = client_config(target.pin, &[b"http/1.1"]);
    let tcp = TcpStream::connect(target.address).await?;
    let name = ServerName::try_from("whatever.invalid").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A request about to be sent.
pub struct Request<'a> {
    method: &'a str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub fn new(method: &'a str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &impl Serialize) -> Self {
        self.raw_json(serde_json::to_vec(body).unwrap())
    }

    pub fn raw_json(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    pub async fn send(self, target: Target) -> Answer {
        self.try_send(target).await.unwrap()
    }

    /// As [`Request::send`], also where a server may be gone.
    pub async fn try_send(self, target: Target) -> std::io::Result<Answer> {
        let stream = connect(target).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let connection = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(self.method)
            .uri(&self.path)
            .header("host", "server");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(self.body)).unwrap();
        let response = sender.send_request(request).await.map_err(std::io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = to_bytes(Body::new(body), 1 << 20)
            .await
            .map_err(std::io::Error::other)?
            .to_vec();
        connection.abort();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of an answer that must be a success.
    pub fn ok<T: DeserializeOwned>(self) -> T {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert!(self.status.is_success(), "{}: {text}", self.status);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The refusal that it must be, with this status and code.
    pub fn refused(self, status: u16, code: ErrorCode) -> ApiError {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status.as_u16(), status, "{text}");
        let error: ApiError = serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(error.code, code, "{text}");
        assert!(!error.message.is_empty() && !error.message.contains('\n'), "{text}");
        error
    }
}
