//! `lanrage-relay`: reads its settings, starts the services, and stops them on SIGTERM or Ctrl-C.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_observe::logs;
use lanrage_relay::cli::{Cli, Command, ServeArgs, mistake};
use lanrage_relay::config::{EXAMPLE, LogFormat};
use lanrage_relay::healthcheck::healthcheck;
use lanrage_relay::serve::serve;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outcome = match cli.command {
        Command::Serve(args) => run(args),
        Command::Healthcheck(args) => args.settings().and_then(|config| Ok(healthcheck(&config.stun)?)),
        Command::ExampleConfig => print(EXAMPLE),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the example cannot be written to standard output"),
    }
}

fn run(args: ServeArgs) -> Result<()> {
    let config = args.settings()?;
    let filter = EnvFilter::new(logs::checked(&config.log)?);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    let runtime = tokio::runtime::Runtime::new().context("the server cannot start its threads")?;
    runtime.block_on(async { serve(config, shutdown()?).await })
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
    match mistake(error, "lanrage-relay serve --help") {
        Some(sentence) => complain(&sentence, ExitCode::from(2)),
        None => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "errors that end the program are for whoever started it"
)]
fn complain(sentence: &str, code: ExitCode) -> ExitCode {
    eprintln!("lanrage-relay: {sentence}");
    code
}
