//! `lanrage-control serve`: opens everything the configuration names and runs it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lanrage_control::acme::Acme;
use lanrage_control::admin;
use lanrage_control::clock::SystemClock;
use lanrage_control::config::{Config, DatabaseKind, RedisUrl};
use lanrage_control::data_dir::{DataDir, DataDirLock, lock_database};
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_control::relays::{self, OwnRelay};
use lanrage_control::server::{Parts, Server};
use lanrage_control::tasks::Tasks;
use lanrage_control::tls::{Allowance, ServerIdentity};
use lanrage_relay::metrics::{MetricsServer, Sources, registry};
use lanrage_relay::relay::RelayServer;
use lanrage_relay::stun::{StunConfig, StunServer};
use lanrage_shared::api::party::StunServer as StunAddress;
use lanrage_shared::invite::{ServerLink, host_port};
use lanrage_store::Store;
use lanrage_store_postgres::PostgresDatabase;
use lanrage_store_sqlite::SqliteDatabase;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs the server until it is told to stop.
pub async fn serve(config: &Config) -> Result<()> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    let _lock = data_dir.lock()?;
    let identity = ServerIdentity::open(data_dir.path())?;
    let link = server_link(config, &data_dir, &identity)?;
    let _database_lock = lock_database_of(config)?;
    let store = open_store(config, &data_dir).await?;
    let kind = store.kind();
    let stun = if config.services.with_relay {
        let stun = StunServer::bind(&stun_config(config)).await;
        Some(stun.context("the relay's services cannot start")?)
    } else {
        None
    };
    let relay = config
        .services
        .with_relay
        .then(|| relays::bind(&config.services, &config.relay_limits, &identity))
        .transpose()?;
    let metrics = match (config.services.relay_metrics_listen, &stun) {
        (Some(listen), Some(stun)) => {
            let sources = Sources {
                relay: relay.as_ref().map(RelayServer::handle),
                stun: stun.counters(),
            };
            Some((MetricsServer::bind(listen).await?, registry(sources)))
        }
        (Some(_), None) => bail!("relay metrics need a relay in this process: start with --with-relay"),
        (None, _) => None,
    };
    let allowance = Allowance::from(&config.limits);
    let acme = Acme::open(&config.acme, data_dir.path(), &identity, allowance).await?;
    let pin = identity.pin;
    let parts = Parts {
        listen: config.server.listen,
        identity,
        store,
        clock: Arc::new(SystemClock),
        stun: stun_servers(config, stun.as_ref()),
        register_token: OperatorToken::open(data_dir.path(), Purpose::Relays)?,
        limits: config.limits.clone(),
        swagger_ui: config.server.swagger_ui,
        admin: Some(admin::Parts {
            listen: config.server.admin_listen,
            token: OperatorToken::open(data_dir.path(), Purpose::Admin)?,
            data_dir: data_dir.path().to_owned(),
        }),
        slow_operation: Duration::from_millis(config.log.slow_operation_ms.into()),
        replica_name: config.server.replica_name(),
        redis: config.redis.url.as_ref().map(RedisUrl::client).transpose()?,
        public_host: link.as_ref().map(|link| link.host.clone()),
    };
    let server = Server::bind(parts).await?;
    let shutdown = CancellationToken::new();
    let mut tasks = Tasks::default();
    if let Some(acme) = acme {
        tasks.spawn("ordering of certificates", acme.run(shutdown.clone()));
    }
    if let Some(stun) = stun {
        tasks.spawn("STUN server", stun.run(shutdown.clone()));
    }
    if let Some((metrics, numbers)) = metrics {
        tasks.spawn("relay metrics", metrics.run(numbers, shutdown.clone()));
    }
    // Members leave the relay while the control server can still tell them of others.
    let told_to_stop = match relay {
        Some(relay) => {
            let region = config.services.relay_region.clone();
            let relay = OwnRelay::register(server.app(), relay, region, pin).await?;
            let (stopping, rest) = (shutdown.child_token(), shutdown.clone());
            let told_to_stop = stopping.clone();
            tasks.spawn("relay", async move {
                relay.run(stopping.clone()).await;
                if stopping.is_cancelled() {
                    rest.cancel();
                }
            });
            told_to_stop
        }
        None => shutdown.clone(),
    };
    if let Some(address) = server.admin_address() {
        data_dir.remember_admin_address(address)?;
        tracing::info!("metrics and the admin API are at http://{address}");
    }
    if let Some(link) = &link {
        data_dir.remember_public_address(&link.authority())?;
    }
    if server.app().relays.services().stun.is_empty() {
        tracing::warn!(
            "agents are told of no STUN server, so nobody gets through a NAT: start with --with-relay, or name STUN servers \
             in the configuration file ([services] stun)"
        );
    }
    let link = link.map_or_else(
        || "none until started with --public-address HOST:PORT".to_owned(),
        |link| link.to_string(),
    );
    let (address, dir) = (server.address(), data_dir.path().display());
    tracing::info!("listening on {address}, data in {dir}, {kind}, server link: {link}");
    if config.redis.url.is_some() && !server.app().store.is_shared() {
        tracing::warn!("Redis is not used: it speeds up several servers on one PostgreSQL, and this one has SQLite");
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told_to_stop.cancel();
    });
    server.run(tasks, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// A database in the data directory is kept by the directory's lock, PostgreSQL takes several servers.
fn lock_database_of(config: &Config) -> Result<Option<DataDirLock>> {
    match config.database.url.as_ref().map(|url| url.kind()).transpose()? {
        Some(DatabaseKind::Sqlite(file)) => Ok(Some(lock_database(Path::new(file))?)),
        _ => Ok(None),
    }
}

async fn open_store(config: &Config, data_dir: &DataDir) -> Result<Store> {
    let kind = config.database.url.as_ref().map(|url| url.kind()).transpose()?;
    let opened = match kind {
        Some(DatabaseKind::Postgres(url)) => PostgresDatabase::connect(url).await.map(Store::new),
        Some(DatabaseKind::Sqlite(file)) => SqliteDatabase::open(Path::new(file)).await.map(Store::new),
        None => SqliteDatabase::open(&data_dir.database()?).await.map(Store::new),
    };
    opened.context("the server cannot start: check the database URL and that the database runs")
}

/// The server link, when the public address is configured or was last time.
pub fn server_link(config: &Config, data_dir: &DataDir, identity: &ServerIdentity) -> Result<Option<ServerLink>> {
    let address = match &config.server.public_address {
        Some(text) => Some(public_address(text)?),
        None => data_dir.public_address()?,
    };
    let pin = identity.pin;
    Ok(address.map(|(host, port)| ServerLink { host, port, pin }))
}

fn public_address(text: &str) -> Result<(String, u16)> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        bail!("the public address is HOST:PORT without {scheme}://: pass --public-address {rest}");
    }
    host_port(text).with_context(|| format!("the public address {text:?} is not HOST:PORT"))
}

fn stun_config(config: &Config) -> StunConfig {
    StunConfig {
        port: config.services.stun_port,
        second_port: config.services.stun_second_port,
        ..StunConfig::default()
    }
}

/// The STUN servers agents are told of, with `own`, the service of this process.
fn stun_servers(config: &Config, own: Option<&StunServer>) -> Vec<StunAddress> {
    let own = own.map(|own| {
        let (port, second_port) = own.local_ports();
        StunAddress {
            host: None,
            port,
            second_port,
        }
    });
    own.into_iter().chain(config.services.stun.iter().cloned()).collect()
}
