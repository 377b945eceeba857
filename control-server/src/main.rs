//! `lanrage-control`: reads the configuration, opens the store, runs the server.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_control::cli::{Cli, Command};
use lanrage_control::clock::SystemClock;
use lanrage_control::config::{Config, DatabaseKind};
use lanrage_control::data_dir::DataDir;
use lanrage_control::server::{Parts, Server};
use lanrage_control::tls::ServerIdentity;
use lanrage_relay::stun::{StunConfig, StunServer};
use lanrage_shared::api::party::{Services, StunServer as StunAddress};
use lanrage_shared::invite::{ServerLink, host_port};
use lanrage_store::Store;
use lanrage_store_postgres::PostgresDatabase;
use lanrage_store_sqlite::SqliteDatabase;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let outcome = run(Cli::parse());
    if let Err(error) = &outcome {
        // Nothing is left to tell it to when stderr is gone.
        let _ = writeln!(std::io::stderr(), "lanrage-control: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(cli: Cli) -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another cryptography provider is installed already")?;
    match cli.command {
        Command::Link(args) => {
            let config = args.config()?;
            let data_dir = DataDir::open(&config.server.data_dir)?;
            let identity = ServerIdentity::open(data_dir.path())?;
            let link = server_link(&config, &data_dir, &identity)?
                .context("the server's public address is not known yet: pass --public-address HOST:PORT")?;
            writeln!(std::io::stdout(), "{link}").context("cannot print the link")
        }
        Command::Serve(args) => {
            let config = args.config()?;
            let filter = EnvFilter::try_from_env("LANRAGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .init();
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            runtime.block_on(serve(&config))
        }
    }
}

async fn serve(config: &Config) -> Result<()> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    let identity = ServerIdentity::open(data_dir.path())?;
    let link = server_link(config, &data_dir, &identity)?;
    let store = open_store(config, &data_dir).await?;
    let kind = store.kind();
    let relay = StunConfig::default();
    let parts = Parts {
        listen: config.server.listen,
        identity,
        store,
        clock: Arc::new(SystemClock),
        services: services(config, &relay),
        limits: config.limits.clone(),
    };
    let server = Server::bind(parts).await?;
    let shutdown = CancellationToken::new();
    let stun = if config.services.with_relay {
        let stun = StunServer::bind(&relay)
            .await
            .context("the relay's services cannot start")?;
        Some(tokio::spawn(stun.run(shutdown.clone())))
    } else {
        None
    };
    if let Some(link) = &link {
        data_dir.remember_public_address(&link.authority())?;
    }
    let link = link.map_or_else(
        || "none until started with --public-address HOST:PORT".to_owned(),
        |link| link.to_string(),
    );
    let (address, dir) = (server.address(), data_dir.path().display());
    tracing::info!("listening on {address}, data in {dir}, {kind}, server link: {link}");
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    server.run(shutdown).await;
    if let Some(stun) = stun {
        stun.await.context("the relay's services failed")?;
    }
    tracing::info!("stopped");
    Ok(())
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
fn server_link(config: &Config, data_dir: &DataDir, identity: &ServerIdentity) -> Result<Option<ServerLink>> {
    let address = match &config.server.public_address {
        Some(text) => Some(host_port(text).with_context(|| format!("the public address {text:?} is not HOST:PORT"))?),
        None => data_dir.public_address()?,
    };
    let pin = identity.pin;
    Ok(address.map(|(host, port)| ServerLink { host, port, pin }))
}

fn services(config: &Config, relay: &StunConfig) -> Services {
    let own = config.services.with_relay.then_some(StunAddress {
        host: None,
        port: relay.port,
        second_port: relay.second_port,
    });
    let stun = own.into_iter().chain(config.services.stun.iter().cloned()).collect();
    Services { stun }
}
