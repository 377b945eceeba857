//! Loads a relay with pairs of members, and coturn with the same load in the same run, and measures what each passes on, what
//! that costs it, and how much longer packets take than straight from socket to socket.
//!
//! The server runs in a process of its own (this program again), on a core of its own, so that its CPU time and memory can be
//! told from the load's. Members speak to our relay as agents do, and to coturn as TURN clients do. What they send are payloads
//! with the time in them. `bench/README.md` says what the numbers mean.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod ends;
mod load;
mod machine;
mod process;
mod report;
mod serve;
mod subject;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use self::report::Report;
use self::subject::Way;

#[derive(Debug, Parser)]
#[command(name = "lanrage-bench-relay", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load servers of its own
    Run(RunArgs),
    /// The relay that `run` loads
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        core: Option<usize>,
    },
    /// The coturn that `run` loads
    #[command(hide = true)]
    Coturn {
        config: PathBuf,
        #[arg(long)]
        core: Option<usize>,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// What carries the load, one after the other; every second round goes the other way round
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "straight,straight-quic,quic,coturn"
    )]
    pub ways: Vec<Way>,
    /// Pairs of members, each in a party of its own; several counts are run one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    pub pairs: Vec<u16>,
    /// Packets a second, all pairs together; several rates are run one after the other
    #[arg(long, value_delimiter = ',', default_value = "20000")]
    pub rate: Vec<u32>,
    /// Bytes of each payload
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u16).range(8..=2048))]
    pub size: u16,
    /// How long each row is measured
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How often everything is run
    #[arg(long, default_value_t = 1)]
    pub rounds: u32,
    /// Do not give the server a core of its own
    #[arg(long)]
    pub no_pin: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve { core } => {
            machine::be_a_server(core)?;
            tokio::runtime::Runtime::new()?.block_on(serve::serve())
        }
        Command::Coturn { config, core } => subject::exec_coturn(&config, core),
        Command::Run(args) => {
            machine::allow_sockets(args.pairs.iter().copied().max().unwrap_or_default().into())?;
            // Before the runtime: its threads may run where this one may.
            let core = if args.no_pin { None } else { machine::leave_one_core()? };
            tokio::runtime::Runtime::new()?.block_on(run(core, &args))
        }
    }
}

async fn run(core: Option<usize>, args: &RunArgs) -> Result<()> {
    let mut report = Report::default();
    println!("{}", report.head());
    for round in 0..args.rounds {
        for pairs in &args.pairs {
            for rate in &args.rate {
                for way in ordered(&args.ways, round) {
                    let outcome = load::run(way, core, *pairs, *rate, args).await?;
                    println!("{}", report.add(*rate, &outcome));
                }
            }
        }
    }
    println!();
    for ratio in report.ratios() {
        println!("{ratio}");
    }
    Ok(())
}

/// What the others are told from first; the others in turn.
fn ordered(ways: &[Way], round: u32) -> Vec<Way> {
    let (mut first, mut others): (Vec<Way>, Vec<Way>) = ways.iter().partition(|way| way.straight() == **way);
    if round % 2 == 1 {
        others.reverse();
    }
    first.append(&mut others);
    first
}
