//! Something that is needed and may be away for a while.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it is away, so that one line says when it goes and one when it is back, however often it is tried meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Outage(AtomicBool);

impl Outage {
    /// It does not work. True when that is news.
    pub(crate) fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// It works. True when that is news.
    pub(crate) fn ends(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// It did not work when it was last tried.
    pub(crate) fn lasts(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_is_news_twice() {
        let outage = Outage::default();
        assert!(!outage.ends(), "it was never away");
        for _ in 0..2 {
            assert!(outage.begins());
            assert!(!outage.begins() && outage.lasts());
            assert!(outage.ends());
            assert!(!outage.ends() && !outage.lasts());
        }
    }
}
