//! `lanrage-relay`: reads its settings, starts the services, and stops them on SIGTERM or Ctrl-C.

use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use lanrage_relay::config::{RelayConfig, udp_port};
use lanrage_relay::stun::StunServer;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The LANrage relay server.
#[derive(Debug, Parser)]
#[command(name = "lanrage-relay", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer STUN until stopped.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "LANRAGE_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Address of this machine to listen on; give it twice for NAT measurement with an alternate address [default: all]
    #[arg(long, value_name = "IP", env = "LANRAGE_RELAY_LISTEN_ADDRESS", value_delimiter = ',')]
    listen_address: Vec<IpAddr>,
    /// First UDP port [default: 3478]
    #[arg(long, value_name = "PORT", env = "LANRAGE_RELAY_STUN_PORT", value_parser = udp_port)]
    stun_port: Option<u16>,
    /// Second UDP port [default: 3479]
    #[arg(long, value_name = "PORT", env = "LANRAGE_RELAY_STUN_SECOND_PORT", value_parser = udp_port)]
    stun_second_port: Option<u16>,
    /// What to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "LANRAGE_RELAY_LOG")]
    log: Option<String>,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let Command::Serve(args) = cli.command;
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

fn serve(args: ServeArgs) -> Result<()> {
    let config = settings(args)?;
    let filter = EnvFilter::try_new(&config.log).map_err(|_| {
        anyhow!(
            "\"{}\" is not a log level; use error, warn, info, debug or trace",
            config.log
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Runtime::new().context("the server cannot start its threads")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let stopped = shutdown()?;
        let server = StunServer::bind(&config.stun).await?;
        let running = tokio::spawn(server.run(stop.clone()));
        stopped.await;
        stop.cancel();
        running
            .await
            .context("the STUN service ended unexpectedly; please report this")
    })
}

fn settings(args: ServeArgs) -> Result<RelayConfig> {
    let mut config = match &args.config {
        Some(path) => RelayConfig::from_file(path)?,
        None => RelayConfig::default(),
    };
    if !args.listen_address.is_empty() {
        config.stun.listen_addresses = args.listen_address;
    }
    config.stun.port = args.stun_port.unwrap_or(config.stun.port);
    config.stun.second_port = args.stun_second_port.unwrap_or(config.stun.second_port);
    config.log = args.log.unwrap_or(config.log);
    Ok(config)
}

/// Resolves when the process is asked to end. The handlers are in place once this returns.
#[cfg(unix)]
fn shutdown() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("the server cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("the server cannot listen for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process is asked to end.
#[cfg(not(unix))]
fn shutdown() -> Result<impl Future<Output = ()>> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "the server cannot listen for Ctrl-C");
        }
    })
}

/// Help and version as `clap` prints them; a mistake as one sentence.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let what = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .trim_end_matches('.');
    let what = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing"
    } else {
        what
    };
    complain(&format!("{what}; see `lanrage-relay serve --help`"), ExitCode::from(2))
}

#[expect(
    clippy::print_stderr,
    reason = "errors that end the program are for whoever started it"
)]
fn complain(sentence: &str, code: ExitCode) -> ExitCode {
    eprintln!("lanrage-relay: {sentence}");
    code
}
