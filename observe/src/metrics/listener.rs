//! `GET /metrics` on a listener of its own.

use std::convert::Infallible;
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
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::host::names_this_machine;
use super::text::{CONTENT_TYPE as TEXT, text};

/// Scrapers at once.
const CONNECTIONS: usize = 8;
/// Longest a scraper may take over its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest a scraper may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Rest after an accept that failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the numbers come from, at each scrape.
pub trait Source: Send + Sync + 'static {
    /// All of them in Prometheus' text format; none while they cannot be had.
    fn numbers(&self) -> impl Future<Output = Option<String>> + Send;
}

impl Source for Registry {
    async fn numbers(&self) -> Option<String> {
        text(self).ok()
    }
}

/// Metrics on a bound socket.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    /// Only programs of this machine reach it.
    is_local: bool,
}

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot listen on {address} ({why}); choose another address for them")]
pub struct MetricsError {
    address: SocketAddr,
    why: io::Error,
}

impl MetricsServer {
    /// Takes the port. Addresses that others can reach are warned of: some scrape from elsewhere, behind a firewall.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|why| MetricsError { address, why })?;
        let is_local = address.ip().is_loopback();
        if !is_local {
            tracing::warn!(%address, "metrics can be read by everybody who reaches this address");
        }
        Ok(Self { listener, is_local })
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers `GET /metrics` until `stop`.
    pub async fn run(self, source: impl Source, stop: CancellationToken) {
        let source = Arc::new(source);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let (source, stop, is_local) = (Arc::clone(&source), stop.clone(), self.is_local);
            tokio::spawn(async move {
                let serving = scrape(stream, &*source, is_local);
                if let Some(Err(error)) = stop.run_until_cancelled(serving).await {
                    tracing::debug!(%error, "a scraper's connection ended badly");
                }
                drop(place);
            });
        }
    }
}

/// One scraper, for as long as it keeps to the limits.
async fn scrape<S>(stream: S, source: &impl Source, is_local: bool) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(|request| answer(source, is_local, request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http.serve_connection(TokioIo::new(Box::pin(stream)), service).await
}

async fn answer(
    source: &impl Source,
    is_local: bool,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if is_local && !names_this_machine(request.headers()) {
        return Ok(plain(StatusCode::FORBIDDEN, "ask for localhost or an address\n"));
    }
    if request.uri().path() != "/metrics" {
        return Ok(plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n"));
    }
    let Some(numbers) = source.numbers().await else {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, ""));
    };
    let mut response = Response::new(Full::from(numbers));
    let kind = HeaderValue::from_static(TEXT);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    use super::*;

    async fn ask(address: SocketAddr, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn numbers_are_at_one_path_and_not_for_pages_of_a_browser() {
        let server = MetricsServer::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (address, stop) = (server.local_address().unwrap(), CancellationToken::new());
        tokio::spawn(server.run(Registry::default(), stop.clone()));
        for host in [
            "127.0.0.1:9128",
            "localhost:9128",
            "LOCALHOST",
            "[::1]:9128",
            "127.0.0.1",
        ] {
            let answer = ask(address, "/metrics", host).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
            assert!(answer.contains(TEXT), "{answer}");
        }
        assert!(ask(address, "/", "localhost").await.starts_with("HTTP/1.1 404"));
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9128",
            "",
        ] {
            let answer = ask(address, "/metrics", host).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
        }
        stop.cancel();
    }

    /// More than any line takes.
    struct Plenty;

    impl Source for Plenty {
        async fn numbers(&self) -> Option<String> {
            Some("# many numbers\n".repeat(10_000))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_that_reads_nothing_gives_its_place_up() {
        let (mut scraper, server) = tokio::io::duplex(1024);
        scraper
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let began = Instant::now();
        let ended = timeout(Duration::from_secs(3600), scrape(server, &Plenty, true)).await;
        ended.expect("it ends").unwrap_err();
        assert!(
            began.elapsed() <= WRITE_TIMEOUT + HEADER_TIMEOUT,
            "{:?}",
            began.elapsed()
        );
        drop(scraper);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_said() {
        let taken = MetricsServer::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = taken.local_address().unwrap();
        let error = MetricsServer::bind(address).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
