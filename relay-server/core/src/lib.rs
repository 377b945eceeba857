//! The relay's rules, without sockets or clocks: what to answer, to whom, and what to drop.

pub mod stun;
