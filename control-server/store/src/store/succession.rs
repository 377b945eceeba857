//! A host that does not come back is succeeded.

use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::PartyEvent;

use super::{Changed, Store, lock, record, retry};
use crate::error::{Result, StoreError};
use crate::rows::SeatRow;

/// When a host counts as gone, and who counts as there.
#[derive(Debug, Clone, Copy)]
pub struct Absence {
    /// The host was last seen before this.
    pub gone_ms: u64,
    /// Whoever was seen since then is there.
    pub present_ms: u64,
}

impl Store {
    /// Parties without their host, which is told as well, where somebody could take its place.
    pub async fn without_host(&self, absence: Absence) -> Result<Vec<(PartyId, MemberId)>> {
        let mut tx = self.read_long("without_host").await?;
        let parties = tx.without_host(absence.gone_ms, absence.present_ms).await?;
        tx.commit().await?;
        Ok(parties)
    }

    /// Makes the longest-present member the host; none when the host is back, or nobody is there, by now.
    pub async fn succeed_host(&self, party: PartyId, absence: Absence, now_ms: u64) -> Result<Option<Changed>> {
        match retry!(self.try_succeed_host(party, absence, now_ms)) {
            Err(StoreError::NotFound) => Ok(None),
            outcome => outcome,
        }
    }

    async fn try_succeed_host(&self, party: PartyId, absence: Absence, now_ms: u64) -> Result<Option<Changed>> {
        let mut tx = self.write("succeed_host").await?;
        let mut state = lock(&mut *tx, party).await?;
        let is_gone = |seat: &SeatRow| seat.last_seen_ms < absence.gone_ms;
        if !state
            .members()
            .any(|seat| seat.number == state.row.host && is_gone(seat))
        {
            return Ok(None);
        }
        let there = state.members().filter(|seat| seat.last_seen_ms >= absence.present_ms);
        let Some(successor) = there.min_by_key(|seat| (seat.joined_at_ms, seat.number)) else {
            return Ok(None);
        };
        state.row.host = successor.number;
        state.row.version += 1;
        let updated = PartyEvent::Updated {
            party: state.row.settings(),
        };
        let events = record(&mut *tx, &mut state.row, vec![updated], now_ms).await?;
        tx.commit().await?;
        Ok(Some(Changed { party, events }))
    }
}
