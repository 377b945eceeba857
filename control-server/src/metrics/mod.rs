//! What the server counts, for Prometheus. Labels have few values, all known beforehand: routes, codes, operations; never who
//! it was.

mod certificate;
mod database;
mod http;
mod refused;
mod snapshot;
mod soft_state;

use std::time::Duration;

use lanrage_observe::metrics::Process;
use lanrage_shared::api::error::ErrorCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::certificate::Certificate;
pub use self::certificate::certificate_expires;
pub use self::database::SlowLog;
pub(crate) use self::http::count;
pub use self::refused::{NotServed, Refusals, StreamEnd};
use self::refused::{ReasonLabel, StreamEnds, none_yet};
pub use self::snapshot::Snapshot;
pub use self::soft_state::SoftState;

/// Upper bounds of durations, in seconds: from an answer out of memory to the longest a request may take.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// What is counted as it happens. Clones count together.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    refusals: Family<ReasonLabel, Counter>,
    stream_ends: StreamEnds,
    stream_refusals: Family<ReasonLabel, Counter>,
    operations: Family<OperationLabels, Histogram, fn() -> Histogram>,
    slow: Family<OperationLabel, Counter>,
    /// What members said about themselves.
    pub presence_updates: Counter,
    /// Passed on between members.
    pub signals: Counter,
    /// Changes of parties that were told to streams.
    pub events: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    /// `2xx`.
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    ending: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self {
            requests: Family::new_with_constructor(seconds),
            refusals: Family::default(),
            stream_ends: StreamEnds::default(),
            stream_refusals: none_yet([ErrorCode::BadRequest, ErrorCode::RateLimited, ErrorCode::TooLarge]),
            operations: Family::new_with_constructor(seconds),
            slow: Family::default(),
            presence_updates: Counter::default(),
            signals: Counter::default(),
            events: Counter::default(),
        }
    }

    /// Counts one request that was answered.
    fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).observe(took.as_secs_f64());
    }

    /// Counts a request that was refused.
    fn refuse(&self, code: ErrorCode) {
        self.refusals.get_or_create(&code.into()).inc();
    }

    /// Counts an agent's stream that ended.
    pub fn end_stream(&self, why: StreamEnd) {
        self.stream_ends.count(why);
    }

    /// Counts a message of an agent that was refused.
    pub fn refuse_message(&self, code: ErrorCode) {
        self.stream_refusals.get_or_create(&code.into()).inc();
    }

    /// Everything, with how the server is at this moment, and what it did not even take in.
    pub fn registry(&self, now: Snapshot, soft: SoftState, not_served: &Refusals) -> Registry {
        let overload = self.refusals.get_or_create(&ErrorCode::Unavailable.into());
        overload.inc_by(not_served.take_answered());
        drop(overload);
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let registry = all.sub_registry_with_prefix("lanrage_control");
        let (requests, operations) = (self.requests.clone(), self.operations.clone());
        let help = "Time from a request to its answer; of streams, to their beginning";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, requests);
        registry.register("http_refusals", "Requests refused, by code", self.refusals.clone());
        let connections = not_served.connections.clone();
        registry.register("connections_refused", "Connections not served, by why", connections);
        let help = "Streams of agents that ended, by why";
        registry.register("stream_ends", help, self.stream_ends.0.clone());
        let help = "Messages of agents refused, by code";
        registry.register("stream_refusals", help, self.stream_refusals.clone());
        let help = "Time of a database transaction, waiting included";
        registry.register_with_unit("database_operation_duration", help, Unit::Seconds, operations);
        let help = "Database transactions that took longer than the configured time";
        registry.register("database_slow_operations", help, self.slow.clone());
        let help = "What members said of themselves, repetitions too";
        registry.register("presence_updates", help, self.presence_updates.clone());
        registry.register("signals", "Signals passed on between members", self.signals.clone());
        registry.register("events", "Changes of parties", self.events.clone());
        registry.register_collector(Box::new(now));
        registry.register_collector(Box::new(soft));
        registry.register_collector(Box::new(Certificate));
        all
    }
}
