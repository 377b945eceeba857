//! What the control server is compared with: axum over the same TLS, and nothing behind it.

use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use lanrage_tls::identity::ServerIdentity;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::http::Target;
use crate::process::Process;

/// Takes a heartbeat and answers nothing.
pub const HANDLER: &str = "/heartbeat";
/// Sends every message back.
pub const ECHO: &str = "/echo";

/// Largest head of a request and what a WebSocket reads at once, in bytes: as the control server has them.
const MAX_HEAD: usize = 16 * 1024;
const READ_BUFFER: usize = 8 * 1024;

/// An empty server that runs until this is dropped.
pub struct EmptyServer {
    pub process: Process,
    pub target: Target,
}

impl EmptyServer {
    pub fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("empty").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let output = process.child().stdout.take().context("its output is piped")?;
        let line = std::io::BufRead::lines(std::io::BufReader::new(output)).next();
        let line = line.context("the empty server has ended")??;
        let (address, pin) = line.split_once(' ').context("it says where it is, and its pin")?;
        let target = Target::new(address.parse()?, pin.parse()?);
        Ok(Self { process, target })
    }
}

/// Serves until standard input ends, which it does with the parent.
pub async fn serve() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let identity = ServerIdentity::open(dir.path())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{} {}", listener.local_addr()?, identity.pin);
    let tls = TlsAcceptor::from(Arc::new(identity.tls(&[b"http/1.1"])));
    let router = Router::new()
        .route(HANDLER, post(async |_: String| StatusCode::NO_CONTENT))
        .route(ECHO, get(open));
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        ended = parent => { ended??; }
        accepted = accept(listener, tls, router) => accepted?,
    }
    Ok(())
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, router: Router) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let io = TokioIo::new(tls.accept(stream).await?);
            let mut http = http1::Builder::new();
            let connection = http.max_buf_size(MAX_HEAD).serve_connection(io, service);
            connection.with_upgrades().await?;
            anyhow::Ok(())
        });
    }
}

async fn open(upgrade: WebSocketUpgrade) -> Response {
    upgrade.read_buffer_size(READ_BUFFER).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(_) = &message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}
