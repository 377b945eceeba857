//! A relay on real sockets: QUIC and TLS over TCP on loopback, members with real keys, a control server that signs tokens.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of a test: a panic is a failed test"
)]

mod admission;
mod forwarding;
mod hostile;
mod leaving;
mod support;
