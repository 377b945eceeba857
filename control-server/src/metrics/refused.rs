//! What was refused, and what ended, by why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lanrage_shared::api::error::ErrorCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotServed {
    /// It had no place, and was told to come back.
    TurnedAway,
    /// It had no place, and too many others were being told so.
    Closed,
    /// What it said was no TLS of ours.
    BadHandshake,
    /// It took too long over TLS.
    LateHandshake,
}

impl NotServed {
    const ALL: [Self; 4] = [Self::TurnedAway, Self::Closed, Self::BadHandshake, Self::LateHandshake];

    fn label(self) -> &'static str {
        match self {
            Self::TurnedAway => "turned_away",
            Self::Closed => "closed",
            Self::BadHandshake => "bad_handshake",
            Self::LateHandshake => "late_handshake",
        }
    }
}

/// Why an agent's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The agent went away, or said nothing more.
    Gone,
    /// It did not begin with `hello`.
    NoHello,
    /// Too many others were about to begin.
    TooManyArrivals,
    /// Its member is no longer in the party.
    NotAMember,
    /// It did not read what was sent to it.
    TooSlow,
    /// The same member has a later one.
    Superseded,
    /// Too much of what it said was refused.
    TooManyRefusals,
    /// The database did not say what it needs to.
    Database,
    /// The server stops.
    Restarting,
}

impl StreamEnd {
    const ALL: [Self; 9] = [
        Self::Gone,
        Self::NoHello,
        Self::TooManyArrivals,
        Self::NotAMember,
        Self::TooSlow,
        Self::Superseded,
        Self::TooManyRefusals,
        Self::Database,
        Self::Restarting,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NoHello => "no_hello",
            Self::TooManyArrivals => "too_many_arrivals",
            Self::NotAMember => "not_a_member",
            Self::TooSlow => "too_slow",
            Self::Superseded => "superseded",
            Self::TooManyRefusals => "too_many_refusals",
            Self::Database => "database",
            Self::Restarting => "restarting",
        }
    }
}

/// Connections that were not served. Clones count together.
#[derive(Debug, Clone)]
pub struct Refusals {
    pub(super) connections: Family<ReasonLabel, Counter>,
    /// Requests on connections without a place, since they were last asked for.
    answered: Arc<AtomicU64>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            connections: none_yet(NotServed::ALL.map(NotServed::label)),
            answered: Arc::default(),
        }
    }
}

impl Refusals {
    /// Counts a connection.
    pub fn refuse(&self, why: NotServed) {
        self.connections.get_or_create(&why.label().into()).inc();
    }

    /// Counts a request that was answered with where there is no place.
    pub fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn take_answered(&self) -> u64 {
        self.answered.swap(0, Ordering::Relaxed)
    }
}

/// Streams that ended.
#[derive(Clone)]
pub(super) struct StreamEnds(pub(super) Family<ReasonLabel, Counter>);

impl Default for StreamEnds {
    fn default() -> Self {
        Self(none_yet(StreamEnd::ALL.map(StreamEnd::label)))
    }
}

impl StreamEnds {
    pub(super) fn count(&self, why: StreamEnd) {
        self.0.get_or_create(&why.label().into()).inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    reason: String,
}

impl From<&str> for ReasonLabel {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
        }
    }
}

impl From<ErrorCode> for ReasonLabel {
    fn from(code: ErrorCode) -> Self {
        match serde_json::to_value(code) {
            Ok(serde_json::Value::String(reason)) => Self { reason },
            _ => "unknown".into(),
        }
    }
}

/// Of each reason a counter: one that is not there yet would hide its first step from Prometheus.
pub(super) fn none_yet<L: Into<ReasonLabel>, const N: usize>(labels: [L; N]) -> Family<ReasonLabel, Counter> {
    let family = Family::<ReasonLabel, Counter>::default();
    for label in labels {
        drop(family.get_or_create(&label.into()));
    }
    family
}
