//! The relay server: sockets and configuration around the rules in `lanrage-relay-core`.
//!
//! It answers STUN. The control server runs the same services in its own process through [`stun::StunServer`].

pub mod config;
pub mod stun;
