//! What the operator sees of all parties, and does to them.

use std::path::Path;

use lanrage_shared::ids::{MemberId, PartyId};

use super::{Changed, Departing, Store, retry};
use crate::error::{Refusal, Result, StoreError};
use crate::rows::PartyState;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub parties: u64,
    pub members: u64,
}

impl Store {
    /// How much there is in all.
    pub async fn totals(&self) -> Result<Totals> {
        let mut tx = self.read("totals").await?;
        let totals = tx.totals().await?;
        tx.commit().await?;
        Ok(totals)
    }

    /// At most `limit` parties after `after`, by id.
    pub async fn parties_after(&self, after: Option<PartyId>, limit: u32) -> Result<Vec<PartyState>> {
        let mut tx = self.read("parties_after").await?;
        let mut parties = Vec::new();
        for row in tx.parties_after(after, limit).await? {
            let seats = tx.seats(row.id).await?;
            parties.push(PartyState { row, seats });
        }
        tx.commit().await?;
        Ok(parties)
    }

    /// A party, for the operator.
    pub async fn any_party(&self, party: PartyId) -> Result<PartyState> {
        let mut tx = self.read("any_party").await?;
        let row = tx.party(party).await?.ok_or(StoreError::NotFound)?;
        let seats = tx.seats(party).await?;
        tx.commit().await?;
        Ok(PartyState { row, seats })
    }

    /// Ends a membership for the operator, the host's too: then whoever has been there longest becomes host.
    pub async fn expel(&self, party: PartyId, member: MemberId, now_ms: u64) -> Result<Changed> {
        let state = self.any_party(party).await?;
        let seat = state.members().find(|seat| seat.number == member);
        let device = seat.ok_or(Refusal::NoSuchMember(member))?.device;
        match retry!(self.try_leave_party(party, device, now_ms, Departing::Expelled)) {
            // It left meanwhile.
            Err(StoreError::NotAMember | StoreError::NotFound) => Err(Refusal::NoSuchMember(member).into()),
            outcome => outcome,
        }
    }

    /// Writes all there is, as of one moment, into `file`, which is empty or not there. False when the database has tools of
    /// its own for that.
    pub async fn back_up(&self, file: &Path) -> Result<bool> {
        self.watched.database.back_up(file).await
    }
}
