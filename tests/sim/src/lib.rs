//! Ring 3 of the tests: parties of real engines under a virtual clock.
//!
//! A [`Scenario`] is a few homes behind routers, PCs in them, relays, and a list of faults with the time between them. A
//! [`World`] runs it: the engines of `lanrage-agent-core` driven as the agent drives them, the relay's rules of
//! `lanrage-relay-core`, a model of the control server, of routers and of lines that lose, delay, repeat and reorder. There
//! are no threads and no waiting, and every chance follows from the scenario's seed. While it runs the world looks at what
//! must hold (`world/checks.rs`):
//!
//! - 5 s after the last fault a packet between any two members that could have a path arrives;
//! - nothing a non-member sent is accepted, and no relay admits it;
//! - no more probes to an address than there may be, and few when idle;
//! - a fault costs a pair few changes of path;
//! - engines come to rest.
//!
//! A failure is reduced ([`shrink`]) to the shortest list of faults that still shows it; its file goes into `regressions/`.

mod control;
mod net;
mod pc;
mod relay;
pub mod scenario;
mod shrink;
mod world;

use std::time::Duration;

pub use scenario::Scenario;
pub use shrink::shrink;
pub use world::{Idled, Summary, Violation, World};

/// Runs a scenario.
pub fn run(scenario: &Scenario) -> Result<Summary, Violation> {
    World::new(scenario, false).run()
}

/// Runs a scenario and keeps what happened, in words, for a violation's [`Violation::log`].
pub fn run_noting(scenario: &Scenario) -> Result<Summary, Violation> {
    World::new(scenario, true).run()
}

/// Lets a scenario's party idle for so long, in which nothing else happens.
pub fn idle(scenario: &Scenario, time: Duration) -> Idled {
    World::new(scenario, false).idle(time)
}
