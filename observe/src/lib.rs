//! What lets a program of ours be looked at from outside, the same for all of them: [`logs`] says what is logged, [`metrics`] answers Prometheus, `traces` tells
//! an OpenTelemetry collector how long requests took and where.

pub mod logs;
pub mod metrics;
#[cfg(feature = "traces")]
pub mod traces;
