//! What the relay counts, for Prometheus, on a listener of its own.

mod process;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lanrage_relay_core::relay::DropReason;
use lanrage_relay_core::stun;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use self::process::Process;
pub use self::text::{CONTENT_TYPE as TEXT, text};
use crate::relay::{Outcome, RelayHandle};
use crate::stun::Counters as StunCounters;

/// Scrapers at once.
const CONNECTIONS: usize = 8;
/// Longest a scraper may take over its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Rest after an accept that failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Metrics on a bound socket.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    registry: Arc<Registry>,
}

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot listen on {address} ({why}); choose another address for them")]
pub struct MetricsError {
    address: SocketAddr,
    why: io::Error,
}

/// What is counted; read when asked for.
#[derive(Debug)]
pub struct Sources {
    pub relay: Option<RelayHandle>,
    pub stun: Arc<StunCounters>,
}

impl MetricsServer {
    /// Takes the port. Addresses that others can reach are warned of: some scrape from elsewhere, behind a firewall.
    pub async fn bind(address: SocketAddr, sources: Sources) -> Result<Self, MetricsError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|why| MetricsError { address, why })?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "metrics can be read by everybody who reaches this address");
        }
        Ok(Self {
            listener,
            registry: Arc::new(registry(sources)),
        })
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers `GET /metrics` until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let (registry, stop) = (Arc::clone(&self.registry), stop.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| std::future::ready(answer(&registry, &request)));
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                let serving = http.serve_connection(TokioIo::new(stream), service);
                if let Some(Err(error)) = stop.run_until_cancelled(serving).await {
                    tracing::debug!(%error, "a scraper's connection ended badly");
                }
                drop(place);
            });
        }
    }
}

fn answer(registry: &Registry, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = if request.uri().path() == "/metrics" {
        match text(registry) {
            Ok(text) => (StatusCode::OK, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        }
    } else {
        (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned())
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let kind = HeaderValue::from_static(TEXT);
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// Everything that is counted.
pub fn registry(sources: Sources) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    let ours = registry.sub_registry_with_prefix("lanrage");
    ours.register_collector(Box::new(sources));
    registry
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        if let Some(relay) = &self.relay {
            let (sessions, parties) = relay.population();
            let counters = relay.counters();
            out.gauge("relay_sessions", "Members connected", sessions.into())?;
            out.gauge("relay_parties", "Parties with members connected", parties as u64)?;
            out.counter("relay_forwarded_frames", "Frames passed on", counters.forwarded())?;
            out.counter("relay_forwarded_bytes", "Bytes passed on", counters.forwarded_bytes())?;
            out.counter("relay_queued_frames", "Frames that had to wait", counters.queued())?;
            let dropped = DropReason::ALL.map(|reason| (reason.label(), counters.dropped(reason)));
            out.family("relay_dropped_frames", "Frames dropped", "reason", dropped)?;
            let handshakes = Outcome::all().map(|outcome| (outcome.label(), relay.handshakes().count_of(outcome)));
            out.family("relay_handshakes", "What became of connections", "outcome", handshakes)?;
        }
        out.counter("stun_answered_requests", "STUN requests answered", self.stun.answered())?;
        let dropped = stun::DropReason::ALL.map(|reason| (reason.label(), self.stun.dropped(reason)));
        out.family(
            "stun_dropped_datagrams",
            "Datagrams that got no answer",
            "reason",
            dropped,
        )
    }
}

struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let encoder = self.0.encode_descriptor(name, help, None, gauge.metric_type())?;
        gauge.encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        let encoder = self.0.encode_descriptor(name, help, None, counter.metric_type())?;
        counter.encode(encoder)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0u64).metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in values {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}
