//! The rules, without a database or a socket.

pub mod admission;
pub mod ipam;
