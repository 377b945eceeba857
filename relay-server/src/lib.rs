//! The relay server: sockets and configuration around the rules in `lanrage-relay-core`.
//!
//! It passes frames on between members of a party ([`relay`]) and answers STUN ([`stun`]). The control server can run both in its own
//! process, through [`relay::RelayServer`] and [`stun::StunServer`].

pub mod cli;
pub mod config;
pub mod healthcheck;
pub mod metrics;
pub mod registration;
pub mod relay;
pub mod serve;
pub mod stun;
