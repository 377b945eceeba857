//! The agent's end of a relay connection, and what both ends share.
//!
//! [`RelayEndpoint::connect`] reaches a relay over QUIC, [`connect_tcp`] over TLS on TCP where UDP is blocked; either says hello and
//! gives a [`RelaySender`] and [`RelayEvents`]. What is sent is a payload to a member of one's own party; payloads that do not
//! fit in one frame are split here and joined again by the receiver's events.
//!
//! For the relay itself: [`transport`] holds the QUIC parameters both ends must agree on, [`control`] and [`frames`] how control
//! messages and frames are delimited.

mod client;
pub mod control;
mod error;
mod events;
pub mod frames;
mod rejoin;
mod sender;
mod tcp;
pub mod transport;

pub use client::{Connected, Credentials, RelayEndpoint, Target};
pub use error::{ConnectError, SendError};
pub use events::{Event, RelayEvents};
pub use sender::RelaySender;
pub use tcp::{connect_tcp, write_frames};
pub use transport::Transport;
