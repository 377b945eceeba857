//! The agent's doors to the world. They move bytes and report what happened; what it means is decided elsewhere.

pub mod control;
pub mod groups;
pub mod latency;
pub mod netwatch;
pub mod portmap;
pub mod tun;
pub mod udp;
