//! The endpoints, one per file.

pub mod auth;
pub mod health;
pub mod invites;
pub mod members;
pub mod parties;
pub mod stream;
