//! `lanrage-control`: reads the configuration, opens the store, runs the server.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use lanrage_control::acme::Acme;
use lanrage_control::admin;
use lanrage_control::cli::{Cli, Command};
use lanrage_control::clock::SystemClock;
use lanrage_control::config::{Config, DatabaseKind, EXAMPLE, LogFormat, RedisUrl};
use lanrage_control::data_dir::{DataDir, DataDirLock, lock_database};
use lanrage_control::healthcheck::healthcheck;
use lanrage_control::open_files;
use lanrage_control::openapi;
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_control::relays::{self, OwnRelay};
use lanrage_control::server::{Parts, Server};
use lanrage_control::tls::{Allowance, ServerIdentity};
use lanrage_observe::traces::Traces;
use lanrage_relay::cli::mistake;
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
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

/// Help and version as `clap` prints them; a mistake as one sentence.
fn refuse(error: &clap::Error) -> ExitCode {
    match mistake(error, "lanrage-control help") {
        Some(sentence) => complain(&sentence, ExitCode::from(2)),
        None => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    }
}

fn complain(sentence: &str, code: ExitCode) -> ExitCode {
    // Nothing is left to tell it to when stderr is gone.
    let _ = writeln!(std::io::stderr(), "lanrage-control: {sentence}");
    code
}

fn run(cli: Cli) -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("another cryptography provider is installed already")?;
    match cli.command {
        Command::Link(args) => {
            let config = args.config()?;
            let data_dir = DataDir::of_server(&config.server.data_dir)?;
            let identity = ServerIdentity::read(data_dir.path())?;
            let link = server_link(&config, &data_dir, &identity)?
                .context("the server's public address is not known yet: pass --public-address HOST:PORT")?;
            print(&link.to_string()).context("the link cannot be written to standard output")
        }
        Command::RelayToken(args) => {
            let renew = args.renew;
            let data_dir = DataDir::of_server(&args.config()?.server.data_dir)?;
            let token = OperatorToken::of_server(data_dir.path(), Purpose::Relays);
            if renew {
                token.renew()?;
            }
            print(&token.read()?).context("the token cannot be written to standard output")
        }
        Command::Prepare(args) => prepare(&args.config()?),
        Command::Healthcheck(args) => {
            let server = args.config()?.server;
            let data_dir = DataDir::of_server(&server.data_dir)?;
            let pin = ServerIdentity::read(data_dir.path())?.pin;
            Ok(healthcheck(server.listen, pin)?)
        }
        Command::ExampleConfig => print(EXAMPLE.trim_end()).context("the example cannot be written to standard output"),
        Command::Admin(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let text = runtime.context("cannot start the runtime")?.block_on(args.run())?;
            if text.is_empty() {
                return Ok(());
            }
            print(&text).context("the answer cannot be written to standard output")
        }
        Command::Openapi(args) => {
            let document = if args.admin {
                admin::document()
            } else {
                openapi::document()
            };
            let text = openapi::to_text(&document);
            print(text.trim_end()).context("the document cannot be written to standard output")
        }
        Command::Serve(args) => {
            let config = args.config()?;
            let _traces = observe(&config)?;
            if let Err(error) = open_files::allow_most() {
                tracing::debug!(%error, "the number of open files stays as it is");
            }
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            runtime.block_on(serve(&config))
        }
    }
}

/// Has what happens logged and, where a collector is named, traced until the answer is dropped.
fn observe(config: &Config) -> Result<Option<Traces>> {
    let filter = EnvFilter::try_from_env("LANRAGE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match config.log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let mut layers = vec![lines.with_filter(filter).boxed()];
    let endpoint = config.tracing.otlp_endpoint.as_ref();
    let traces = endpoint.map(|endpoint| Traces::start(endpoint, "lanrage-control"));
    let traces = traces.transpose().context("requests cannot be traced")?;
    layers.extend(traces.as_ref().map(|traces| traces.layer().boxed()));
    tracing_subscriber::registry().with(layers).init();
    Ok(traces)
}

fn print(line: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Makes what others need to know of the server before it runs: relays its key and their token.
fn prepare(config: &Config) -> Result<()> {
    let data_dir = DataDir::open(&config.server.data_dir)?;
    let identity = ServerIdentity::open(data_dir.path())?;
    OperatorToken::open(data_dir.path(), Purpose::Relays)?;
    match server_link(config, &data_dir, &identity)? {
        Some(link) => print(&link.to_string()).context("the link cannot be written to standard output"),
        None => Ok(()),
    }
}

async fn serve(config: &Config) -> Result<()> {
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
    if let Some(acme) = acme {
        tokio::spawn(acme.run(shutdown.clone()));
    }
    let stun = stun.map(|stun| tokio::spawn(stun.run(shutdown.clone())));
    if let Some((metrics, numbers)) = metrics {
        tokio::spawn(metrics.run(numbers, shutdown.clone()));
    }
    // Members leave the relay while the control server can still tell them of others.
    let stopping = CancellationToken::new();
    let relay = match relay {
        Some(relay) => {
            let region = config.services.relay_region.clone();
            let relay = OwnRelay::register(server.app(), relay, region, pin).await?;
            Some(tokio::spawn(relay.run(stopping.clone())))
        }
        None => None,
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
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
        if let Some(relay) = relay {
            // A relay that panicked has stopped as well.
            let _ = relay.await;
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
fn server_link(config: &Config, data_dir: &DataDir, identity: &ServerIdentity) -> Result<Option<ServerLink>> {
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
