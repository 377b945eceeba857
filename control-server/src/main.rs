//! `lanrage-control`: reads the configuration, opens the store, runs the server.

mod serve;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_control::admin;
use lanrage_control::cli::{Cli, Command};
use lanrage_control::config::{Config, EXAMPLE, LogFormat};
use lanrage_control::data_dir::DataDir;
use lanrage_control::healthcheck::healthcheck;
use lanrage_control::open_files;
use lanrage_control::openapi;
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_control::tls::ServerIdentity;
use lanrage_observe::logs;
use lanrage_observe::traces::Traces;
use lanrage_relay::cli::mistake;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::serve::{serve, server_link};

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
    let wanted = std::env::var("LANRAGE_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::new(logs::checked(&wanted).context("LANRAGE_LOG cannot be followed")?);
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
