//! The line in which streams begin.
//!
//! After a restart thousands begin within seconds, and each reads its party. The database reads no faster for being asked by all at
//! once: most would wait longer than it lets anybody wait, be sent away, and cost another handshake each when they come again.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Streams that read their party at once: more than SQLite has readers, half of PostgreSQL's connections. The rest is for requests.
const AT_ONCE: usize = 8;
/// Longest wait in the line. An agent takes a server that is silent for 30 s for dead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Streams that begin.
pub struct Arrivals(Semaphore);

impl Default for Arrivals {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Arrivals {
    /// Waits for a turn to read from the store; first come, first served. It ends when it is dropped. None when it took too long.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PATIENCE, self.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_last_waits_for_a_turn_but_not_for_ever() {
        let arrivals = Arrivals::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(arrivals.turn().await.unwrap());
        }
        assert!(arrivals.turn().await.is_none());
        let (next, ()) = tokio::join!(arrivals.turn(), async { drop(turns.pop()) });
        assert!(next.is_some());
    }
}
