//! The control server's API over real HTTPS and WebSockets: a real listener, real clients that check the pinned key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod auth;
mod convergence;
mod host;
mod logs;
mod observer;
mod parties;
mod postgres;
mod relayed;
mod relays;
mod removal;
mod replicas;
mod stream;
mod support;
