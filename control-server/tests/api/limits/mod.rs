//! What the `[limits]` section says holds: each of its settings at work. What takes long is tested by virtual time in
//! `tls/serve.rs`; how settings get there, here.

mod callers;
mod connections;
mod requests;

use lanrage_control::config::LimitsConfig;

use crate::support::{Device, TestServer};

/// A server with these limits, and Anna, who is signed in.
async fn with(limits: LimitsConfig) -> (TestServer, Device) {
    let server = TestServer::start_with(limits).await;
    let anna = Device::new(&server, 1).await;
    (server, anna)
}
