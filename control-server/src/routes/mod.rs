//! The endpoints, one per file.

pub mod auth;
pub mod bans;
pub mod conflicts;
pub mod health;
pub mod invites;
pub mod members;
pub mod parties;
pub mod relay_link;
pub mod relays;
mod sealed;
mod socket;
pub mod stream;
