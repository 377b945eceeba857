//! Where every packet goes, decided from a snapshot that nobody locks.
//!
//! Two threads run this, one per direction. Each takes a batch, asks the current [`Table`] whose each packet is, and runs it
//! through that peer's tunnel under a lock no other peer shares. The engine publishes a new table when members change and
//! sets a peer's path when a better one is proven; the packet threads never wait for it. What is meant for everybody goes
//! through the [`Bridge`](crate::broadcast::Bridge), both ways.

mod control;
mod drops;
mod inbound;
mod lan;
mod masquerade;
mod outbound;
mod table;

pub use drops::{DropReason, Drops};
pub use inbound::{Inbound, InboundBatch};
pub use lan::{Lan, OtherAdapter};
pub use masquerade::Masquerade;
pub use outbound::Outbound;
pub use table::{PeerLink, Table, TableCell};

#[cfg(test)]
mod tests;
