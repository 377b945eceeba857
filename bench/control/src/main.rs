//! Loads a control server with thousands of agents, through its public API and nothing else, and measures what it takes and what
//! that costs it.
//!
//! The server is the real program in a process of its own; an empty server of this program's takes the same load for comparison.
//! Agents are light but speak as real ones do: a TLS connection each, known by the server's pin, a token of their own, a party,
//! a stream. Their addresses are spread over loopback, so that the server's limits per address hold. `bench/README.md` says
//! what the numbers mean.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod agent;
mod converge;
mod crowd;
mod databases;
mod empty;
mod heartbeats;
mod http;
mod idle;
mod member;
#[path = "../../relay/src/process.rs"]
mod process;
mod report;
mod server;
mod strangers;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::report::Goals;

#[derive(Debug, Parser)]
#[command(name = "lanrage-bench-control", version)]
struct Cli {
    /// Fail when a goal is missed
    #[arg(long, global = true)]
    check: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Heartbeats a second that are taken, next to an empty server
    Heartbeats(heartbeats::HeartbeatArgs),
    /// Memory that streams take in which nothing happens
    Idle(idle::CrowdArgs),
    /// The return of all agents after the server was killed
    Reconnect(idle::CrowdArgs),
    /// What others notice of requests whose heads never end
    SlowHeaders(strangers::SlowHeadersArgs),
    /// What bodies that never end do
    HugeBody(strangers::HugeBodyArgs),
    /// Whether two servers with different clocks agree after their Redis was frozen
    Converge(converge::ConvergeArgs),
    /// The empty server
    #[command(hide = true)]
    Empty,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    allow_sockets()?;
    tokio::runtime::Runtime::new()?.block_on(run(cli))
}

async fn run(cli: Cli) -> Result<()> {
    let mut goals = Goals::default();
    match cli.command {
        Command::Heartbeats(args) => heartbeats::run(&args, &mut goals).await?,
        Command::Idle(args) => idle::run(&args, &mut goals).await?,
        Command::Reconnect(args) => idle::reconnect(&args, &mut goals).await?,
        Command::SlowHeaders(args) => strangers::slow_headers(&args, &mut goals).await?,
        Command::HugeBody(args) => strangers::huge_body(&args, &mut goals).await?,
        Command::Converge(args) => converge::run(&args, &mut goals).await?,
        Command::Empty => empty::serve().await?,
    }
    let missed: Vec<&str> = goals.missed().collect();
    for goal in &missed {
        println!("missed: {goal}");
    }
    if cli.check && !missed.is_empty() {
        bail!("{} goals were missed", missed.len());
    }
    Ok(())
}

/// Lets this process, and those it starts, open as many files as they ever may.
fn allow_sockets() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
