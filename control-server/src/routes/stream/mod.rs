//! `/v1/stream`: one WebSocket per agent.
//!
//! `open` proves who is there and reads `Hello`; `arrivals` is the line for the database; a `session` subscribes to the party's feed
//! first and reads the store second, so that nothing falls between; `link` is the socket with its time limits, `end` why it closes.

mod arrivals;
mod end;
mod link;
mod open;
mod session;

pub use self::arrivals::Arrivals;
pub use self::open::*;
