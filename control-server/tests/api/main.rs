//! The control server's API over real HTTPS and WebSockets: a real listener, real clients that check the pinned key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are tests too"
)]

mod admin;
mod answers;
mod auth;
mod conflicts;
mod convergence;
mod faults;
mod host;
mod kicks;
mod limits;
mod logs;
mod migrations;
mod observer;
mod openapi;
mod parties;
mod postgres;
mod refusals;
mod relayed;
mod relays;
mod removal;
mod replicas;
mod schemathesis;
mod shutdown;
mod slow;
mod stream;
mod support;
mod tokens;
mod upgrade;
