//! What lets a program of ours be looked at from outside, the same for all of them: [`metrics`] answers Prometheus, `traces` tells
//! an OpenTelemetry collector how long requests took and where.

pub mod metrics;
#[cfg(feature = "traces")]
pub mod traces;
