//! A wire with delay, jitter, loss, bursts of loss, duplication, reordering and a rate, between two interfaces.
//!
//! [`model`] decides what happens to a frame, without sockets and without a clock; [`frames`] moves frames in and out
//! through packet sockets; [`run`] is the loop that joins them: release what is due, sleep until the next is, read what came.

pub mod frames;
pub mod model;

use std::time::{Duration, Instant};

use anyhow::Result;

use self::frames::{Port, wait_readable};
use self::model::{Direction, LinkModel};

/// Longest sleep: how late the loop notices that it should end.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Carries frames between two interfaces of this network namespace until `stop` says so.
pub fn run(a: &str, b: &str, model: LinkModel, seed: u64, stop: impl Fn() -> bool) -> Result<[Direction; 2]> {
    let mut ports = [Port::open(a)?, Port::open(b)?];
    let mut directions = [Direction::new(model, seed), Direction::new(model, seed ^ u64::MAX)];
    frames::precise_timers();
    say_ready();
    while !stop() {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for (from, direction) in directions.iter_mut().enumerate() {
            for frame in ports[1 - from].send(|| direction.pop_due(now)) {
                direction.recycle(frame);
            }
            next = [next, direction.next_due()].into_iter().flatten().min();
        }
        let wait = next.map_or(LONGEST_WAIT, |due| {
            due.saturating_duration_since(Instant::now()).min(LONGEST_WAIT)
        });
        let readable = wait_readable(&ports, wait)?;
        for (from, direction) in directions.iter_mut().enumerate() {
            if readable[from] {
                ports[from].receive(|frame| {
                    if frames::finds_neighbours(frame) {
                        direction.push_surely(frame, Instant::now());
                    } else {
                        direction.push(frame, Instant::now());
                    }
                })?;
            }
        }
    }
    Ok(directions)
}

#[expect(clippy::print_stdout, reason = "whoever started the shim waits for this line")]
fn say_ready() {
    println!("ready");
}
