//! What two LANrage programs must agree on: names, addresses, keys, JSON shapes and wire formats.
//!
//! Nothing here touches a socket, a clock, a file or a random number generator: time and randomness are parameters. Every
//! parser is total: any bytes give a value or an error, never a panic. A value that exists is valid: a [`names::MemberName`]
//! has been checked, an [`invite::InviteCode`] has its 100 bits.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests begin their virtual time somewhere")
)]

pub mod addr;
pub mod api;
pub mod backoff;
pub mod hlc;
pub mod ids;
pub mod invite;
pub mod keys;
pub mod lww;
pub mod names;
#[cfg(feature = "openapi")]
mod openapi;
pub mod pair;
pub mod seal;
pub mod signal;
pub mod stream;
#[cfg(feature = "token")]
pub mod token;
pub mod wire;
