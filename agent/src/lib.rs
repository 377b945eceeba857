//! The LANrage agent: everything that touches a socket, a file, the TUN device or the clock.
//!
//! The rules live in `lanrage-agent-core`, which can do none of that. `driver` feeds it and carries out what it decides.

pub mod api;
pub mod cli;
pub mod doctor;
pub mod driver;
pub mod io;
pub mod platform;
pub mod state;
