//! Loads a relay with pairs of members and measures what it passes on, what that costs it, and how long it takes.
//!
//! The relay runs in a process of its own (this program again, as `serve`), so that its CPU time and memory can be told from
//! the load's. Members speak to it as agents do; what they send are payloads of random length-like content with the time in them.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod child;
mod load;
mod serve;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use lanrage_relay_client::Transport;

#[derive(Debug, Parser)]
#[command(name = "lanrage-bench-relay", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a relay of its own
    Run(RunArgs),
    /// The relay that `run` loads
    #[command(hide = true)]
    Serve,
}

#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Pairs of members, each in a party of its own; several counts are run one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    pub pairs: Vec<u16>,
    /// Packets a second, all pairs together
    #[arg(long, default_value_t = 20_000)]
    pub rate: u32,
    /// Bytes of each payload
    #[arg(long, default_value_t = 1200)]
    pub size: usize,
    /// How long each count is measured
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How members connect
    #[arg(long, value_enum, default_value = "quic")]
    pub transport: By,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    Quic,
    Tcp,
}

impl From<By> for Transport {
    fn from(by: By) -> Self {
        match by {
            By::Quic => Self::Quic,
            By::Tcp => Self::Tcp,
        }
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match cli.command {
        Command::Serve => runtime.block_on(serve::serve()),
        Command::Run(args) => runtime.block_on(run(args)),
    }
}

async fn run(args: RunArgs) -> Result<()> {
    println!("pairs  sent/s   got/s   Gbit/s  lost %  CPU/s  us/packet  p50 ms  p99 ms  max ms  KiB/session");
    for pairs in &args.pairs {
        let relay = child::Relay::start()?;
        let result = load::run(&relay, *pairs, &args).await?;
        println!("{result}");
    }
    Ok(())
}
