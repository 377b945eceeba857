//! The accept loop: TLS on every connection, limits on everything a stranger can hold on to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::extract::Peer;

/// Longest a client may take over its handshake, and over the head of a request. Idle connections end after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections beyond the allowed number that are told so; any further ones are closed without a word.
const TURNED_AWAY: usize = 64;
/// Rest after an accept that failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, and what answers on it.
pub struct Listening {
    pub tcp: TcpListener,
    pub tls: TlsAcceptor,
    /// Answers within the allowed number of connections.
    pub router: Router,
    /// Answers beyond it.
    pub overload: Router,
    /// The allowed number of connections.
    pub connections: usize,
}

/// Accepts connections until `shutdown`, then waits for the requests that have begun.
pub async fn serve(listening: Listening, shutdown: CancellationToken) {
    let Listening {
        tcp,
        tls,
        router,
        overload,
        connections,
    } = listening;
    let places = Arc::new(Semaphore::new(connections));
    let extra_places = Arc::new(Semaphore::new(TURNED_AWAY));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = tcp.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, router) = if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            (place, router.clone())
        } else if let Ok(place) = Arc::clone(&extra_places).try_acquire_owned() {
            (place, overload.clone())
        } else {
            continue;
        };
        tasks.spawn(connection(
            stream,
            address,
            tls.clone(),
            router,
            place,
            shutdown.clone(),
        ));
    }
    drop(tcp);
    tasks.close();
    tasks.wait().await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: TlsAcceptor,
    router: Router,
    place: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) {
    // Stream messages are small and urgent. A socket that refuses this works too, slower.
    let _ = stream.set_nodelay(true);
    let handshake = timeout(HEADER_TIMEOUT, tls.accept(stream));
    let stream = tokio::select! {
        () = shutdown.cancelled() => return,
        stream = handshake => match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        },
    };
    let peer = Peer {
        address,
        place: Arc::new(place),
    };
    let service = service_fn(|request: hyper::Request<Incoming>| answer(router.clone(), peer.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended badly");
    }
}

async fn answer(
    router: Router,
    peer: Peer,
    request: hyper::Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    router.oneshot(request).await
}
