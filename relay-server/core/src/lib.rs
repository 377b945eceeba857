//! The relay's rules, without sockets or clocks: what to answer, to whom, and what to drop.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests begin their virtual time somewhere")
)]

pub mod relay;
pub mod stun;
