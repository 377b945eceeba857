//! Runs the relay's rules on sockets: QUIC on UDP, and TLS on TCP at the same port number.
//!
//! A connection has 5 s to say hello, and until it has, it counts against caps per address and in all. Then it is a *port*: its
//! own tasks read frames, let the rules judge them, and give what passes straight to the receiver's port. Frames a port has no
//! room for wait in the rules; the port's pump takes them out when there is room again.
//!
//! [`RelayServer`] can run inside another server: [`RelayHandle`] is what that, or `lanrage-relay serve`, steers it by.

mod bind;
mod cid;
mod gate;
mod handle;
mod handshakes;
mod hub;
mod port;
mod quic;
mod server;
mod tcp;

pub use bind::BindError;
pub use handle::RelayHandle;
pub use handshakes::{Handshakes, Outcome};
pub use server::{RelayServer, RelaySettings};
