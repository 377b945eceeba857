//! The accept loop: TLS where agents connect, limits on everything a stranger can hold on to.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::handshakes::Handshakes;
use super::places::{Place, Places, Seating};
use crate::config::LimitsConfig;
use crate::extract::Peer;
use crate::limits::household;
use crate::metrics::NotServed;

/// Rest after an accept that failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often that is said.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What one connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Longest a client may take over its handshake, and over the head of a request. Idle connections end after it too.
    pub header_timeout: Duration,
    /// Longest a client may take none of what is written to it. Each byte it takes gives it as long again, and the kernel's
    /// buffer holds more than any answer of ours.
    pub write_timeout: Duration,
    /// Largest head of a request, in bytes: hyper's own default is 400 KiB for each connection.
    pub max_head: usize,
}

impl From<&LimitsConfig> for Allowance {
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            header_timeout: limits.header_timeout_s.seconds(),
            write_timeout: limits.write_timeout_s.seconds(),
            max_head: limits.head_kib.kib(),
        }
    }
}

/// A socket that listens, and what answers on it.
pub struct Listening {
    pub tcp: TcpListener,
    /// None: without TLS.
    pub tls: Option<Handshakes>,
    /// Answers within the allowed number of connections.
    pub router: Router,
    /// Answers beyond it.
    pub overload: Router,
    /// The allowed number of connections.
    pub places: Places,
    /// What each of them may take.
    pub allowance: Allowance,
}

/// Accepts connections until `shutdown`, then waits for the requests that have begun.
pub async fn serve(listening: Listening, shutdown: CancellationToken) {
    let Listening {
        tcp,
        tls,
        router,
        overload,
        places,
        allowance,
    } = listening;
    let tls = tls.map(Arc::new);
    let tasks = TaskTracker::new();
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = tcp.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
                    tracing::warn!(%error, "connections cannot be accepted");
                    complained = Some(Instant::now());
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, router) = match places.take(household(address.ip())) {
            Seating::Seated(place) => (place, router.clone()),
            Seating::TurnedAway(place) => (place, overload.clone()),
            Seating::Closed => continue,
        };
        tasks.spawn(connection(
            stream,
            address,
            tls.clone(),
            Answering { router, allowance },
            place,
            shutdown.clone(),
        ));
    }
    drop(tcp);
    tasks.close();
    tasks.wait().await;
}

/// What answers on a connection, and what the connection may take.
struct Answering {
    router: Router,
    allowance: Allowance,
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Handshakes>>,
    answering: Answering,
    place: Place,
    shutdown: CancellationToken,
) {
    // Stream messages are small and urgent. A socket that refuses this works too, slower.
    let _ = stream.set_nodelay(true);
    let peer = Peer {
        address,
        place: Arc::new(place),
    };
    let Some(tls) = tls else {
        return speak(stream, answering, peer, &shutdown).await;
    };
    let handshake = timeout(answering.allowance.header_timeout, tls.accept(stream));
    let stream = tokio::select! {
        () = shutdown.cancelled() => return,
        stream = handshake => match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                peer.place.refusals().refuse(NotServed::BadHandshake);
                return tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => {
                peer.place.refusals().refuse(NotServed::LateHandshake);
                return tracing::debug!("a TLS handshake took too long");
            }
        },
    };
    speak(stream, answering, peer, &shutdown).await;
}

/// HTTP on a connection, for as long as its client keeps to the limits.
async fn speak<S>(stream: S, answering: Answering, peer: Peer, shutdown: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Answering { router, allowance } = answering;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(allowance.write_timeout));
    let service = service_fn(|request: hyper::Request<Incoming>| answer(router.clone(), peer.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(allowance.header_timeout)
        .max_buf_size(allowance.max_head);
    let connection = http
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
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

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::interval;

    use super::*;
    use crate::router::{RequestAllowance, give_up_late};

    /// More than any test's connection lasts, in virtual time.
    const LONG: Duration = Duration::from_secs(3600);

    const ALLOWANCE: Allowance = Allowance {
        header_timeout: Duration::from_secs(3),
        write_timeout: Duration::from_secs(4),
        max_head: 12 * 1024,
    };
    const REQUEST: RequestAllowance = RequestAllowance {
        time: Duration::from_secs(7),
        max_body: 64 * 1024,
    };

    /// A client's end of a connection with little room, and how long the server holds the other one.
    fn connect() -> (DuplexStream, impl Future<Output = Duration>) {
        let (client, server) = tokio::io::duplex(1024);
        let router = Router::new()
            .route("/", get(async || "x".repeat(100_000)))
            .route("/body", post(async |_: String| "read"))
            .layer(from_fn_with_state(REQUEST, give_up_late));
        let Seating::Seated(place) = Places::new(1, 1).take([192, 0, 2, 1].into()) else {
            panic!("there is a place");
        };
        let peer = Peer {
            address: "192.0.2.1:1".parse().unwrap(),
            place: Arc::new(place),
        };
        let began = Instant::now();
        let held = tokio::spawn(async move {
            let answering = Answering {
                router,
                allowance: ALLOWANCE,
            };
            speak(server, answering, peer, &CancellationToken::new()).await;
            began.elapsed()
        });
        let held = async { timeout(LONG, held).await.expect("the connection ends").unwrap() };
        (client, held)
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_does_not_hold_a_connection() {
        let (mut client, held) = connect();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let held = held.await;
        assert!(held <= ALLOWANCE.write_timeout + ALLOWANCE.header_timeout, "{held:?}");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_a_byte_a_minute_does_not_hold_a_connection() {
        let (mut client, held) = connect();
        let (head, drip) = (*b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", Duration::from_secs(60));
        tokio::spawn(async move { drip_into(&mut client, &head, drip).await });
        let held = held.await;
        assert!(held <= ALLOWANCE.header_timeout * 2, "{held:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_a_body_does_not_hold_a_connection() {
        let (mut client, held) = connect();
        tokio::spawn(async move {
            let head = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
            client.write_all(head).await.unwrap();
            drip_into(&mut client, &[b'x'; 1000], Duration::from_secs(1)).await;
        });
        let held = held.await;
        assert!(held <= REQUEST.time + ALLOWANCE.header_timeout, "{held:?}");
    }

    async fn drip_into(client: &mut DuplexStream, bytes: &[u8], every: Duration) {
        let mut ticks = interval(every);
        for byte in bytes {
            ticks.tick().await;
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_larger_than_any_agents_is_refused() {
        let (mut client, held) = connect();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "y".repeat(ALLOWANCE.max_head)
        );
        // The server may close before it has taken everything.
        let _ = client.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(
            answer.starts_with(b"HTTP/1.1 431 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        held.await;
    }
}
