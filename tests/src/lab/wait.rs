//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: short against everything that is waited for, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Polls `condition` until it gives a value; an error that names `what` after `limit`.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs_f32());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
