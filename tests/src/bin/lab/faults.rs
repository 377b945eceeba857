//! Faults that take too long for a test, for a person to look at.
#![expect(clippy::print_stdout, reason = "reports to a person")]

use std::time::{Duration, Instant};

use anyhow::Result;
use lanrage_tests::lab::{Lab, idle};

/// Whether every path was still direct after this long a silence.
pub(crate) fn idle(minutes: u64) -> Result<bool> {
    let start = Instant::now();
    let say = |what: &str| println!("[{:5.1} s] {what}", start.elapsed().as_secs_f32());
    let pairs = idle::soak(Lab::new()?, Duration::from_secs(minutes * 60), &say)?;
    for pair in &pairs {
        let first = match pair.first {
            Some(first) => format!(
                "the first packet was answered after {:.1} ms",
                first.as_secs_f64() * 1e3
            ),
            None => format!("the first packet was not answered within {:?}", idle::LIMIT),
        };
        println!(
            "{:<20} {} times not direct; {first}",
            pair.nat.to_string(),
            pair.indirect
        );
    }
    match idle::judge(&pairs) {
        Ok(()) => println!("All paths are still direct."),
        Err(why) => println!("WRONG  {why}"),
    }
    Ok(idle::judge(&pairs).is_ok())
}
