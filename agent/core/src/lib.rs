//! The agent's rules, without IO.
//!
//! Nothing here opens a socket or a file, reads the clock or draws a random number of its own: datagrams, time and seeds
//! come in as parameters, decisions go out as values. [`engine::Engine`] composes the machines: it learns from the control
//! server who the peers are, from [`nat`] where this PC can be reached, and from [`path`] which address of each peer works
//! best. [`dataplane`] moves packets by what the engine decided, and [`adapter`] says how the network adapter has to be set.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests begin their virtual time somewhere")
)]

pub mod adapter;
pub mod batch;
pub mod broadcast;
pub mod cache;
pub mod dataplane;
pub mod engine;
pub mod games;
pub mod ip;
pub mod latency;
pub mod nat;
pub mod path;
pub mod rate;
pub mod relays;
pub mod silence;
pub mod sleep;
pub mod wg;
