//! How writing behind goes, and what replicas know of each other.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use lanrage_observe::metrics::Out;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::app::App;

/// Counts as of one moment.
#[derive(Debug)]
pub struct SoftState {
    queued: u64,
    written: u64,
    saved: u64,
    failed: u64,
    waiting: usize,
    conflicts: u64,
    replicas: usize,
    lacks_redis: bool,
}

impl SoftState {
    /// As of now.
    pub fn of(app: &App) -> Self {
        let counters = app.write_behind.counters();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            queued: count(&counters.queued),
            written: count(&counters.written),
            saved: count(&counters.saved),
            failed: count(&counters.failed),
            waiting: app.write_behind.waiting(),
            conflicts: app.roster.conflict_count(),
            // Itself, too.
            replicas: app.replicas.there().len() + 1,
            lacks_redis: app.replicas.lacks_redis(),
        }
    }
}

impl Collector for SoftState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        let help = "Writes queued for the database";
        out.counter("write_behind_queued", help, self.queued)?;
        let help = "Statements that wrote them";
        out.counter("write_behind_written", help, self.written)?;
        let help = "Rows that these saved";
        out.counter("write_behind_saved", help, self.saved)?;
        let help = "Times the database did not take them";
        out.counter("write_behind_failed", help, self.failed)?;
        let help = "Writes that wait for the database";
        out.gauge("write_behind_waiting", help, self.waiting as f64)?;
        let help = "Soft writes of two replicas that had not seen each other's";
        out.counter("conflicts", help, self.conflicts)?;
        let help = "Servers on this database, this one too, as it sees them";
        out.gauge("replicas", help, self.replicas as f64)?;
        let help = "1 while there is a Redis that does not answer, else 0";
        out.gauge("redis_away", help, f64::from(u8::from(self.lacks_redis)))
    }
}
