//! The operator's end: what `lanrage-control admin` asks of the server that runs on a data directory.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, HOST, LINK};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use lanrage_shared::api::error::ApiError;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::data_dir::DataDir;
use crate::healthcheck::reached_at;
use crate::operator_token::{OperatorToken, OperatorTokenError, Purpose};

/// Longest wait for an answer to begin. A backup of a large database takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no server runs on this data directory: start `lanrage-control serve`, or name its directory with --data-dir"
    )]
    NotRunning,
    #[error("the server does not answer at {address} ({why}): does it run?")]
    Unreachable { address: SocketAddr, why: io::Error },
    #[error("the server's answer cannot be read ({0})")]
    Unreadable(String),
    #[error("the server does not answer")]
    TooLate,
    #[error(transparent)]
    Token(#[from] OperatorTokenError),
    #[error(transparent)]
    Refused(#[from] ApiError),
}

/// One server.
pub struct Client {
    address: SocketAddr,
    token: String,
}

impl Client {
    /// Of the server that runs on this data directory.
    pub fn of_server(data_dir: &DataDir) -> Result<Self, ClientError> {
        let address = data_dir.admin_address().ok_or(ClientError::NotRunning)?;
        let token = OperatorToken::of_server(data_dir.path(), Purpose::Admin).read()?;
        Ok(Self {
            address: reached_at(address),
            token,
        })
    }

    /// Every item of a list, page by page.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, ClientError> {
        let (mut items, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let response = self.ask(Method::GET, &path).await?;
            let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
            next = link
                .and_then(|link| link.strip_prefix('<')?.split_once('>'))
                .map(|(path, _)| path.to_owned());
            match read(response).await? {
                Value::Array(page) => items.extend(page),
                _ => return Err(ClientError::Unreadable("it is no list".into())),
            }
        }
        Ok(items)
    }

    /// What is at `path`.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        read(self.ask(Method::GET, path).await?).await
    }

    /// The answer to a request without a body, whose own is left to be read.
    pub async fn ask(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let asking = self.exchange(method, path);
        let response = timeout(PATIENCE, asking).await.map_err(|_| ClientError::TooLate)??;
        if response.status().is_success() {
            return Ok(response);
        }
        let refusal = serde_json::from_value::<ApiError>(read(response).await?);
        Err(refusal.map_or_else(|error| ClientError::Unreadable(error.to_string()), ClientError::Refused))
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
        let tcp = TcpStream::connect(self.address)
            .await
            .map_err(|why| ClientError::Unreachable {
                address: self.address,
                why,
            })?;
        let (mut sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(unreadable)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::<Bytes>::new())
            .map_err(|error| ClientError::Unreadable(error.to_string()))?;
        sender.send_request(request).await.map_err(unreadable)
    }
}

async fn read(response: Response<Incoming>) -> Result<Value, ClientError> {
    let body = response.into_body().collect().await.map_err(unreadable)?.to_bytes();
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|error| ClientError::Unreadable(error.to_string()))
}

fn unreadable(error: hyper::Error) -> ClientError {
    ClientError::Unreadable(error.to_string())
}
