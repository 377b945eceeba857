//! Operations on the database, and a line about each that is slow.

use std::time::Duration;

use lanrage_store::{Ending, Observer};

use super::{Metrics, OperationLabel, OperationLabels};

/// Counts operations, and logs slow ones in the span of whoever asked.
pub struct SlowLog {
    pub metrics: Metrics,
    /// What takes longer is slow.
    pub threshold: Duration,
}

impl Observer for SlowLog {
    fn ended(&self, operation: &'static str, took: Duration, ending: Ending) {
        let ending = match ending {
            Ending::Committed => "committed",
            Ending::Abandoned => "abandoned",
            Ending::Failed => "failed",
        };
        let labels = OperationLabels { operation, ending };
        let histogram = self.metrics.operations.get_or_create(&labels);
        histogram.observe(took.as_secs_f64());
        if took > self.threshold {
            let ms = took.as_millis();
            tracing::warn!(operation, ms, ending, "the database was slow");
            self.metrics.slow.get_or_create(&OperationLabel { operation }).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_longer_than_it_may_is_slow() {
        let log = SlowLog {
            metrics: Metrics::new(),
            threshold: Duration::from_millis(500),
        };
        for ms in [1, 500, 501] {
            log.ended("party", Duration::from_millis(ms), Ending::Committed);
        }
        let slow = log.metrics.slow.get_or_create(&OperationLabel { operation: "party" });
        assert_eq!(slow.get(), 1);
    }
}
