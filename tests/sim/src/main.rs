//! Runs scenarios until one fails, or for as long as it is told.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use lanrage_sim::{Scenario, Summary, run, run_noting, shrink};

/// Parties of simulated agents under random faults. A failure is reduced and printed as a file for tests/sim/regressions.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone and tell what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Run the scenario in this file and tell what happens.
    #[arg(long, conflicts_with = "seed")]
    file: Option<PathBuf>,
    /// The first of the seeds that are run.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// So many seeds; without, there is no end.
    #[arg(long)]
    count: Option<u64>,
    /// Goes on after a failure, unreduced.
    #[arg(long)]
    all: bool,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is what it is for")]
fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let one = match (&arguments.file, arguments.seed) {
        (Some(file), _) => match read(file) {
            Ok(scenario) => Some(scenario),
            Err(why) => {
                eprintln!("{}: {why}", file.display());
                return 2.into();
            }
        },
        (None, seed) => seed.map(Scenario::draw),
    };
    if let Some(scenario) = one {
        println!("{scenario}");
        return match run_noting(&scenario) {
            Ok(summary) => {
                println!("{summary:?}");
                0.into()
            }
            Err(violation) => {
                violation.log.iter().for_each(|line| println!("{line}"));
                println!("{violation}");
                1.into()
            }
        };
    }
    let last = arguments
        .count
        .map_or(u64::MAX, |count| arguments.from.saturating_add(count));
    let mut total = Summary::default();
    let (mut told, started) = (Instant::now(), Instant::now());
    let mut failures = 0;
    for seed in arguments.from..last {
        let scenario = Scenario::draw(seed);
        match run(&scenario) {
            Ok(summary) => total.add(&summary),
            Err(violation) => {
                failures += 1;
                println!("seed {seed} {violation}");
                if !arguments.all {
                    let smallest = shrink(&scenario, |smaller| run(smaller).is_err());
                    println!(
                        "# {}\n{smallest}",
                        run(&smallest).err().map(|why| why.to_string()).unwrap_or_default()
                    );
                    return 1.into();
                }
            }
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            eprintln!(
                "{} seeds, {failures} failures, {:.0} s",
                seed + 1 - arguments.from,
                started.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{total:?}, {failures} failures in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    u8::from(failures > 0).into()
}

fn read(file: &PathBuf) -> Result<Scenario, Box<dyn std::error::Error>> {
    Ok(toml::from_str(&std::fs::read_to_string(file)?)?)
}
