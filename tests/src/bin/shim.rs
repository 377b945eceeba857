//! `lab-shim IF_A IF_B [--delay MS] …`: makes the link between two interfaces behave like a real one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lanrage_tests::shim::{self, model::LinkModel};

/// Carries frames between two interfaces with delay, loss and the like, the same both ways.
#[derive(Parser)]
struct Arguments {
    a: String,
    b: String,
    /// One way, in ms.
    #[arg(long, default_value_t = 0.0)]
    delay: f64,
    /// Up to this much more, in ms.
    #[arg(long, default_value_t = 0.0)]
    jitter: f64,
    /// Percent.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// BEGIN,END: chance per packet in percent that a burst of loss begins, and that it ends.
    #[arg(long)]
    burst: Option<String>,
    /// Percent.
    #[arg(long, default_value_t = 0.0)]
    duplicate: f64,
    /// Percent.
    #[arg(long, default_value_t = 0.0)]
    reorder: f64,
    /// Mbit/s.
    #[arg(long)]
    rate: Option<f64>,
    /// The same seed gives the same luck.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

#[expect(clippy::print_stdout, reason = "the counts are what the program is asked for")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let milliseconds = |value: f64| Duration::try_from_secs_f64(value / 1000.0).context("a time cannot be negative");
    let model = LinkModel {
        delay: milliseconds(arguments.delay)?,
        jitter: milliseconds(arguments.jitter)?,
        loss: arguments.loss,
        burst: arguments.burst.as_deref().map(burst).transpose()?,
        duplicate: arguments.duplicate,
        reorder: arguments.reorder,
        rate_mbit: arguments.rate,
    };
    let handler = stop as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler only stores to an atomic.
    unsafe {
        libc::signal(libc::SIGTERM, handler);
        libc::signal(libc::SIGINT, handler);
    }
    let directions = shim::run(&arguments.a, &arguments.b, model, arguments.seed, || {
        STOP.load(Ordering::Relaxed)
    })?;
    for (way, direction) in ["a to b", "b to a"].iter().zip(&directions) {
        println!("{way}: {:?}", direction.counts());
    }
    Ok(())
}

fn burst(text: &str) -> Result<(f64, f64)> {
    let (begins, ends) = text.split_once(',').context("--burst takes BEGIN,END in percent")?;
    Ok((begins.parse()?, ends.parse()?))
}
