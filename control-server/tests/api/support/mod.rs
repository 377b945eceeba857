//! A real server on a real TLS socket, and devices that talk to it.

mod device;
mod http;
#[path = "../../../store-postgres/tests/server/mod.rs"]
pub mod postgres;
mod redis;
mod relay;
mod sql;
mod stream;
mod writer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lanrage_control::app::App;
use lanrage_control::clock::Clock;
use lanrage_control::config::{LimitsConfig, RedisUrl, Within};
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_control::server::{Broken, Parts, Server, StartError};
use lanrage_control::tasks::Tasks;
use lanrage_control::tls::ServerIdentity;
use lanrage_shared::api::party::StunServer;
use lanrage_shared::ids::Pin;
use lanrage_store::Store;
use lanrage_store_postgres::PostgresDatabase;
use lanrage_store_sqlite::SqliteDatabase;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::device::{Code, Device, party, redemption};
pub use self::http::{Answer, Request, Target, connect};
pub use self::redis::RedisServer;
pub use self::relay::Relay;
pub use self::sql::Sql;
pub use self::stream::Stream;
pub use self::writer::{Writer, Written};

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

fn unlimited() -> LimitsConfig {
    LimitsConfig {
        // Every device of a test has the same address.
        connections_per_address: LimitsConfig::default().connections,
        ..LimitsConfig::default()
    }
}

/// Two servers on one database.
pub struct Replicas {
    pub one: TestServer,
    pub two: TestServer,
    pub url: String,
}

impl Replicas {
    pub async fn start(postgres: &postgres::PostgresServer, name: &str) -> Self {
        Self::start_with(postgres, name, None).await
    }

    pub async fn start_with(postgres: &postgres::PostgresServer, name: &str, redis: Option<&RedisServer>) -> Self {
        let url = postgres.fresh_database(name);
        let one = TestServer::replica(&url, "one", None, redis).await.unwrap();
        let two = TestServer::replica(&url, "two", Some(&one), redis).await.unwrap();
        let both = || one.app.replicas.there().len() == 1 && two.app.replicas.there().len() == 1;
        until("they know one another", both).await;
        Self { one, two, url }
    }

    pub async fn stop(self) {
        tokio::join!(self.one.stop(), self.two.stop());
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
    running: JoinHandle<Result<(), Broken>>,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// On a data directory that another server may have used.
    pub async fn start_in(dir: TempDir) -> Self {
        Self::start_with_in(unlimited(), dir).await
    }

    pub async fn start_with(limits: LimitsConfig) -> Self {
        Self::start_with_in(limits, tempfile::tempdir().unwrap()).await
    }

    async fn start_with_in(limits: LimitsConfig, dir: TempDir) -> Self {
        let database = SqliteDatabase::open(&dir.path().join("control.sqlite3")).await.unwrap();
        Self::run(dir, Store::new(database), "test", limits, None)
            .await
            .unwrap()
    }

    /// A server of this name on a PostgreSQL that others may be on, with the identity of another one.
    pub async fn replica(
        url: &str,
        name: &str,
        like: Option<&Self>,
        redis: Option<&RedisServer>,
    ) -> Result<Self, StartError> {
        // A bench asks for a thousand parties.
        let limits = LimitsConfig {
            requests_per_second: Within::clamped(u32::MAX),
            request_burst: Within::clamped(u32::MAX),
            parties_per_hour: Within::clamped(u32::MAX),
            ..unlimited()
        };
        Self::limited_replica(url, name, like, redis, limits).await
    }

    pub async fn limited_replica(
        url: &str,
        name: &str,
        like: Option<&Self>,
        redis: Option<&RedisServer>,
        limits: LimitsConfig,
    ) -> Result<Self, StartError> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(like) = like {
            std::fs::copy(like.dir.path().join("identity.pem"), dir.path().join("identity.pem")).unwrap();
        }
        let store = Store::new(PostgresDatabase::connect(url).await?);
        Self::run(dir, store, name, limits, redis).await
    }

    async fn run(
        dir: TempDir,
        store: Store,
        name: &str,
        limits: LimitsConfig,
        redis: Option<&RedisServer>,
    ) -> Result<Self, StartError> {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
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
            store,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            stun: vec![stun],
            register_token,
            limits,
            swagger_ui: false,
            admin: Some(lanrage_control::admin::Parts {
                listen: "127.0.0.1:0".parse().unwrap(),
                token: OperatorToken::open(dir.path(), Purpose::Admin).unwrap(),
                data_dir: dir.path().to_owned(),
            }),
            slow_operation: Duration::from_millis(500),
            replica_name: name.into(),
            redis: redis.map(|redis| redis.url.parse::<RedisUrl>().unwrap().client().unwrap()),
            public_host: Some(format!("{name}.example")),
        })
        .await?;
        let stop = CancellationToken::new();
        Ok(Self {
            address: server.address(),
            admin: server.admin_address().unwrap(),
            pin,
            clock,
            app: server.app(),
            dir,
            stop: stop.clone(),
            running: tokio::spawn(server.run(Tasks::default(), stop)),
        })
    }

    /// Ends it as if its machine had lost its power: it says nothing to anybody any more, though its streams stay open.
    pub fn kill(&self) {
        self.running.abort();
        let app = Arc::clone(&self.app);
        tokio::spawn(async move { app.store.close().await });
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
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
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
