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
