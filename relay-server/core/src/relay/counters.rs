//! What the relay has done, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DropReason;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    forwarded: AtomicU64,
    forwarded_bytes: AtomicU64,
    queued: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    /// Frames passed on.
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// Bytes passed on, the frames' headers included.
    pub fn forwarded_bytes(&self) -> u64 {
        self.forwarded_bytes.load(Ordering::Relaxed)
    }

    /// Frames that had to wait, passed on later or not.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Frames dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        DropReason::ALL.iter().map(|reason| self.dropped(*reason)).sum()
    }

    /// A frame was dropped. The machine counts its own drops; this is for those of its driver.
    pub fn count_drop(&self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    pub(super) fn count_drops(&self, reason: DropReason, frames: usize) {
        if frames > 0 {
            self.dropped[reason as usize].fetch_add(frames as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn count_forwarded(&self, bytes: usize) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
        self.forwarded_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was counted as passed on has to wait after all.
    pub(super) fn uncount_forwarded(&self, bytes: usize) {
        self.forwarded.fetch_sub(1, Ordering::Relaxed);
        self.forwarded_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }
}
