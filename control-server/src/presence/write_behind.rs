//! Writing soft state to the database behind the back of whoever said it.
//!
//! What is queued replaces what was queued for the same key, so the queue is never longer than there are members and relays, however
//! slow the database is. Every [`WINDOW`] all of it goes out at once, one statement per table. What could not be written goes back
//! to the queue, unless there is something newer by then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lanrage_store::{Result, SoftKey, SoftWrite, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::feed::Seat;
use crate::outage::Outage;

/// How long writes are collected.
pub const WINDOW: Duration = Duration::from_millis(100);
/// The pause after a database that does not take them.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts since the server started.
#[derive(Debug, Default)]
pub struct WriteBehindCounters {
    /// Writes that were queued.
    pub queued: AtomicU64,
    /// Statements that went to the database.
    pub written: AtomicU64,
    /// Rows that these saved.
    pub saved: AtomicU64,
    /// Times the database did not take them.
    pub failed: AtomicU64,
}

/// What waits to be written.
#[derive(Default)]
pub struct WriteBehind {
    pending: Mutex<Pending>,
    /// Held while a flush is under way: the database has to take writes in the order of their stamps, as other replicas read what is
    /// later than the last they read.
    flushing: tokio::sync::Mutex<()>,
    news: Notify,
    counters: WriteBehindCounters,
    outage: Outage,
}

#[derive(Default)]
struct Pending {
    writes: BTreeMap<SoftKey, SoftWrite>,
    seen: BTreeMap<Seat, u64>,
}

impl Pending {
    fn put(&mut self, write: SoftWrite) {
        let newer = self.writes.get(&write.key).is_some_and(|kept| kept.stamp > write.stamp);
        if !newer {
            self.writes.insert(write.key.clone(), write);
        }
    }

    fn see(&mut self, seat: Seat, at_ms: u64) {
        let seen = self.seen.entry(seat).or_default();
        *seen = at_ms.max(*seen);
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.seen.is_empty()
    }
}

impl WriteBehind {
    /// For the metrics.
    pub fn counters(&self) -> &WriteBehindCounters {
        &self.counters
    }

    /// How many writes wait.
    pub fn waiting(&self) -> usize {
        let pending = self.lock();
        pending.writes.len() + pending.seen.len()
    }

    /// Queues a write of this replica.
    pub fn queue(&self, write: SoftWrite) {
        self.lock().put(write);
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
    }

    /// Queues when a member was last connected.
    pub fn queue_seen(&self, seat: Seat, at_ms: u64) {
        self.lock().see(seat, at_ms);
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
    }

    /// Writes until `shutdown`. [`WriteBehind::flush`] has to follow when everybody has parted.
    pub async fn run(&self, store: &Store, shutdown: &CancellationToken) {
        loop {
            let pause = async {
                self.news.notified().await;
                tokio::time::sleep(WINDOW).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = pause => {}
            }
            if self.flush(store).await.is_err() {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Writes all that waits.
    pub async fn flush(&self, store: &Store) -> Result<()> {
        let _in_order = self.flushing.lock().await;
        let taken = std::mem::take(&mut *self.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let writes: Vec<SoftWrite> = taken.writes.into_values().collect();
        let seen: Vec<_> = taken
            .seen
            .iter()
            .map(|(seat, at_ms)| (seat.party, seat.member, *at_ms))
            .collect();
        match store.save_soft(&writes, &seen).await {
            Ok(rows) => {
                let statements = u64::from(!writes.is_empty()) + u64::from(!seen.is_empty());
                self.counters.written.fetch_add(statements, Ordering::Relaxed);
                self.counters.saved.fetch_add(rows, Ordering::Relaxed);
                if self.outage.ends() {
                    tracing::info!("presence is saved again");
                }
                Ok(())
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                if self.outage.begins() {
                    tracing::warn!(%error, "presence is not saved for now; it is kept in memory");
                }
                let mut pending = self.lock();
                writes.into_iter().for_each(|write| pending.put(write));
                taken
                    .seen
                    .into_iter()
                    .for_each(|(seat, at_ms)| pending.see(seat, at_ms));
                self.news.notify_one();
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every change is a single map operation.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
