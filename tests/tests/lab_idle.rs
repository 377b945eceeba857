//! A party that says nothing for a while plays on at once. `scripts/lab faults idle` is the same for ten minutes.

use std::time::Duration;

use anyhow::Result;
use lanrage_tests::lab::{Lab, idle};

#[test]
fn paths_stay_direct_while_nobody_says_anything_behind_routers_that_forget_soon() -> Result<()> {
    /// More than three lifetimes of a mapping.
    const IDLE: Duration = Duration::from_secs(90);
    let Some(lab) = Lab::for_test()? else {
        return Ok(());
    };
    let pairs = idle::soak(lab, IDLE, &|what| eprintln!("{what}"))?;
    eprintln!("after {IDLE:?}: {pairs:?}");
    idle::judge(&pairs)
}
