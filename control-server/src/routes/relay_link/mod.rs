//! `/v1/relay-link`: one WebSocket per relay.
//!
//! `open` proves that the relay is the operator's and reads its registration; a `session` keeps it told of what was revoked.
//! It watches for news first and reads the store second, so that nothing falls between.

mod open;
mod session;

pub use self::open::*;
