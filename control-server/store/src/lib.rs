//! What the control server keeps, without naming a database.
//!
//! A database crate implements two traits: [`Database`] hands out transactions, [`Transaction`] reads and writes single rows.
//! Everything that takes several steps is written once, in [`Store`], on top of them: it takes the party's row lock, looks,
//! decides, writes, appends to the party's event log, commits. So every database gives the same guarantees, and what a
//! database crate holds is SQL only. Nobody waits for a database that does not answer: calls go through `watched`. The `contract` feature adds the suite that each of them must pass.

pub mod columns;
#[cfg(feature = "contract")]
pub mod contract;
mod database;
mod error;
mod news;
mod rows;
mod silence;
mod soft;
mod store;
mod watched;

pub use database::{Database, Overview, Removals, Replication, Transaction};
pub use error::{Refusal, Result, StoreError};
pub use news::{Listener, News, Notice};
pub use rows::{BanRow, InviteRow, PartyRow, PartyState, SeatRow};
pub use silence::{PATIENCE, PROBE_EVERY};
pub use soft::{ReplicaRow, SoftKey, SoftWrite};
pub use store::{
    Absence, Admit, Bounds, Changed, Created, EVENTS_KEPT, Ending, Founding, LEASE_MS, Missed, NewInviteRow,
    NewSecretRow, Observer, Patch, Redeemed, Redemption, Removal, Removed, Replay, Store, Totals,
};
