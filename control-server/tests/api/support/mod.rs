//! A real server on a real TLS socket, and devices that talk to it.

mod device;
mod http;
mod relay;
mod stream;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lanrage_control::app::App;
use lanrage_control::clock::Clock;
use lanrage_control::config::LimitsConfig;
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_control::server::{Parts, Server};
use lanrage_control::tls::ServerIdentity;
use lanrage_shared::api::party::StunServer;
use lanrage_shared::ids::Pin;
use lanrage_store::Store;
use lanrage_store_sqlite::SqliteDatabase;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::device::{Code, Device, party};
pub use self::http::{Answer, Request, Target, connect};
pub use self::relay::Relay;
pub use self::stream::Stream;

/// Longest anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that a test sets.
pub struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn uptime_ms(&self) -> u64 {
        self.now_ms()
    }
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A server that runs until the test ends.
pub struct TestServer {
    pub address: SocketAddr,
    /// Where it answers the operator.
    pub admin: SocketAddr,
    pub pin: Pin,
    pub clock: Arc<TestClock>,
    pub app: Arc<App>,
    dir: TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// On a data directory that another server may have used.
    pub async fn start_in(dir: TempDir) -> Self {
        // Every device of a test has the same address.
        let limits = LimitsConfig {
            connections_per_address: LimitsConfig::default().connections,
            ..LimitsConfig::default()
        };
        Self::start_with_in(limits, dir).await
    }

    pub async fn start_with(limits: LimitsConfig) -> Self {
        Self::start_with_in(limits, tempfile::tempdir().unwrap()).await
    }

    async fn start_with_in(limits: LimitsConfig, dir: TempDir) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let database = SqliteDatabase::open(&dir.path().join("control.sqlite3")).await.unwrap();
        let identity = ServerIdentity::open(dir.path()).unwrap();
        let pin = identity.pin;
        let clock = Arc::new(TestClock(AtomicU64::new(1_700_000_000_000)));
        let stun = StunServer {
            host: None,
            port: 3478,
            second_port: 3479,
        };
        let register_token = OperatorToken::open(dir.path(), Purpose::Relays).unwrap();
        let server = Server::bind(Parts {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            identity,
            store: Store::new(database),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            stun: vec![stun],
            register_token,
            limits,
            admin: Some(lanrage_control::admin::Parts {
                listen: "127.0.0.1:0".parse().unwrap(),
                token: OperatorToken::open(dir.path(), Purpose::Admin).unwrap(),
                data_dir: dir.path().to_owned(),
            }),
            slow_operation: Duration::from_millis(500),
        })
        .await
        .unwrap();
        let stop = CancellationToken::new();
        Self {
            address: server.address(),
            admin: server.admin_address().unwrap(),
            pin,
            clock,
            app: server.app(),
            dir,
            stop: stop.clone(),
            running: tokio::spawn(server.run(stop)),
        }
    }

    /// Where a client finds it, and by which key.
    pub fn target(&self) -> Target {
        Target {
            address: self.address,
            pin: self.pin,
        }
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// A request that no device signs.
    pub async fn request(&self, request: Request<'_>) -> Answer {
        request.send(self.target()).await
    }

    /// What SIGTERM does; returns when the server has stopped.
    pub async fn stop(self) -> TempDir {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.dir
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
