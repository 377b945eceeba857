//! The operations, each one transaction.

mod create;
mod invites;
mod leave;
mod operation;
mod overview;
mod read;
mod redeem;
mod replicas;
mod revoke;
mod secret;
mod succession;
mod update;
mod upkeep;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::PartyEvent;

pub use self::create::{Created, Founding, NewInviteRow};
use self::leave::Departing;
pub use self::leave::{Removal, Removed};
use self::operation::Unobserved;
pub use self::operation::{Ending, Observer};
pub use self::overview::Totals;
pub use self::read::{Missed, Replay};
pub use self::redeem::{Admit, Redeemed, Redemption};
pub use self::replicas::LEASE_MS;
pub use self::secret::NewSecretRow;
pub use self::succession::Absence;
pub use self::update::Patch;
use crate::database::{Database, Transaction};
use crate::error::{Refusal, Result, StoreError};
use crate::news::News;
use crate::rows::{PartyRow, PartyState, SeatRow};
use crate::watched::Watched;

/// Events kept per party. An agent that missed more gets a snapshot: cheaper than the gap from about here on.
pub const EVENTS_KEPT: u64 = 1000;
/// How often an operation that another one got in the way of is tried again.
const RETRIES: usize = 8;

/// What the control server keeps. Clones share one database.
#[derive(Clone)]
pub struct Store {
    watched: Arc<Watched>,
    observer: Arc<dyn Observer>,
    bounds: Bounds,
}

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Parties one device may be in: far above what a person joins, far below what would fill the disk.
    pub parties_per_device: usize,
    /// Invites of one party that have not expired; as many more that have are remembered.
    pub invites_per_party: u64,
    /// Devices banned from one party.
    pub bans_per_party: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            parties_per_device: 32,
            invites_per_party: 100,
            bans_per_party: 1000,
        }
    }
}

/// What an operation did to a party, for the change feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub party: PartyId,
    /// Numbered without gaps, in order.
    pub events: Vec<(u64, PartyEvent)>,
}

/// Tries an operation again while others get in its way. Each of them finished something, so this ends.
macro_rules! retry {
    ($operation:expr) => {{
        let mut left = $crate::store::RETRIES;
        loop {
            match $operation.await {
                Err($crate::error::StoreError::Contended) if left > 0 => left -= 1,
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use retry;

impl Store {
    /// A store on `database`.
    pub fn new(database: impl Database) -> Self {
        Self {
            watched: Arc::new(Watched::new(Arc::new(database))),
            observer: Arc::new(Unobserved),
            bounds: Bounds::default(),
        }
    }

    /// The same store, with other bounds.
    #[must_use]
    pub fn bounded_by(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The same store, whose operations `observer` hears of.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..self }
    }

    /// What the database is called in the log.
    pub fn kind(&self) -> &'static str {
        self.watched.database.kind()
    }

    /// How long the database has not answered anybody, nobody having asked included.
    pub fn silent_for(&self) -> Duration {
        self.watched.silent_for()
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.watched.database.close().await;
    }
}

/// A party locked for writing, with its seats.
async fn lock(tx: &mut dyn Transaction, party: PartyId) -> Result<PartyState> {
    let row = tx.lock_party(party).await?.ok_or(StoreError::NotFound)?;
    let seats = tx.seats(party).await?;
    Ok(PartyState { row, seats })
}

/// Refuses whoever is not the party's host. A device that is not a member does not learn that the party exists.
fn require_host(state: &PartyState, device: DeviceId) -> Result<&SeatRow> {
    let seat = state.member_of(device).ok_or(StoreError::NotFound)?;
    if seat.number == state.row.host {
        Ok(seat)
    } else {
        Err(StoreError::NotHost {
            host: state.host_name(),
        })
    }
}

/// Refuses a change that is meant for another version of the party.
fn require_version(state: &PartyState, expected: u64) -> Result<()> {
    let current_version = state.row.version;
    if current_version == expected {
        Ok(())
    } else {
        Err(StoreError::Conflict { current_version })
    }
}

/// Numbers `events`, appends them to the party's log and saves the party.
async fn record(
    tx: &mut dyn Transaction,
    row: &mut PartyRow,
    events: Vec<PartyEvent>,
    now_ms: u64,
) -> Result<Vec<(u64, PartyEvent)>> {
    let mut numbered = Vec::with_capacity(events.len());
    for event in events {
        row.seq += 1;
        let json =
            serde_json::to_string(&as_logged(&event)).map_err(|error| StoreError::Internal(error.to_string()))?;
        tx.append_event(row.id, row.seq, &json, now_ms).await?;
        numbered.push((row.seq, event));
    }
    tx.drop_events(row.id, row.seq.saturating_sub(EVENTS_KEPT)).await?;
    tx.save_party(row).await?;
    if let (Some((first, _)), Some((last, _))) = (numbered.first(), numbered.last()) {
        let (party, first, last) = (row.id, *first, *last);
        tx.announce(&News::Events { party, first, last }).await?;
    }
    Ok(numbered)
}

/// The event as the log has it: secrets are kept for their members instead, and only while they are members.
fn as_logged(event: &PartyEvent) -> Cow<'_, PartyEvent> {
    match event {
        PartyEvent::SecretChanged { epoch, .. } => Cow::Owned(PartyEvent::SecretChanged {
            epoch: *epoch,
            secrets: Vec::new(),
        }),
        other => Cow::Borrowed(other),
    }
}

/// Refuses a device that is in as many parties as it may be.
async fn require_room_for_party(tx: &mut dyn Transaction, device: DeviceId, bounds: &Bounds) -> Result<()> {
    tx.lock_device(device).await?;
    if tx.parties_of(device).await?.len() >= bounds.parties_per_device {
        return Err(Refusal::TooManyParties.into());
    }
    Ok(())
}
