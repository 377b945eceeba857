//! `lanrage-lab`: the namespace lab from the command line; scripts/lab and scripts/demo call it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to a person"
)]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lanrage_tests::lab::{Kind, matrix, verify};

mod lab {
    pub(crate) mod demo;
    pub(crate) mod faults;
    pub(crate) mod interrupt;
    pub(crate) mod standing;
}

#[derive(Parser)]
#[command(
    name = "lanrage-lab",
    about = "A small internet of network namespaces with real NATs."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Proves that every NAT kind is what its name says.
    Verify { kinds: Vec<Kind> },
    /// Connects every kind of home with every kind and prints which pairs are direct and which are relayed.
    NatMatrix {
        /// Only the kinds most homes have.
        #[arg(long)]
        quick: bool,
        kinds: Vec<Kind>,
    },
    /// Faults that take too long for a test.
    Faults {
        #[command(subcommand)]
        fault: Fault,
    },
    /// Builds homes to look around in; `down` removes them.
    Up {
        /// One way, in ms, on each home's link to the internet.
        #[arg(long, default_value_t = 0.0)]
        delay: f64,
        /// Two port-restricted homes unless told otherwise.
        kinds: Vec<Kind>,
    },
    /// Removes what `up` built.
    Down,
    /// Shows two PCs behind two home routers that share a LAN.
    Demo {
        /// Leave everything running.
        #[arg(long)]
        keep: bool,
        /// End what an earlier --keep left running.
        #[arg(long, conflicts_with = "keep")]
        stop: bool,
    },
}

#[derive(Subcommand)]
enum Fault {
    /// Nobody says anything for a while behind routers that forget a mapping after 25 s: are the paths still direct?
    Idle {
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
}

fn main() -> ExitCode {
    lab::interrupt::clean_up_on_signals();
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lanrage-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as it should be.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Verify { kinds } => {
            let kinds = if kinds.is_empty() { verify::all_kinds() } else { kinds };
            let verdicts = verify::verify(&kinds)?;
            println!("{}", verify::table(&verdicts));
            Ok(verdicts.iter().all(|verdict| verdict.faults.is_empty()))
        }
        Command::NatMatrix { quick, kinds } => nat_matrix(quick, kinds),
        Command::Faults {
            fault: Fault::Idle { minutes },
        } => lab::faults::idle(minutes),
        Command::Up { delay, kinds } => lab::standing::up(delay, &kinds).map(|()| true),
        Command::Down => {
            lab::standing::down();
            Ok(true)
        }
        Command::Demo { stop: true, .. } => {
            lab::demo::stop();
            Ok(true)
        }
        Command::Demo { keep, .. } => lab::demo::run(keep).map(|()| true),
    }
}

fn nat_matrix(quick: bool, kinds: Vec<Kind>) -> Result<bool> {
    let kinds = match (kinds.is_empty(), quick) {
        (false, _) => kinds,
        (true, true) => matrix::quick_kinds(),
        (true, false) => matrix::all_kinds(),
    };
    let start = Instant::now();
    let matrix = matrix::run(&kinds, &|what| {
        eprintln!("[{:5.1} s] {what}", start.elapsed().as_secs_f32())
    })?;
    println!("{}", matrix.table());
    println!(
        "All paths stood {:.1} s after the last join.",
        matrix.took.as_secs_f32()
    );
    let faults = matrix.faults();
    for fault in &faults {
        println!("WRONG  {fault}");
    }
    Ok(faults.is_empty())
}
