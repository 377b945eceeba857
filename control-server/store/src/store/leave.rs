//! Leaving a party.

use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::{Departure, PartyEvent};

use super::{Changed, Store, lock, record, retry};
use crate::error::{Result, StoreError};

impl Store {
    /// Ends a device's membership and keeps its number for it. When the host leaves, whoever has been there longest becomes
    /// host; when the last member leaves, the party ends unless it is persistent.
    pub async fn leave_party(&self, party: PartyId, device: DeviceId, now_ms: u64) -> Result<Changed> {
        retry!(self.try_leave_party(party, device, now_ms, None))
    }

    /// As [`Store::leave_party`], for a member that has not been seen since `before_ms`; none when it has been by now.
    pub async fn remove_unseen(
        &self,
        party: PartyId,
        device: DeviceId,
        before_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Changed>> {
        match retry!(self.try_leave_party(party, device, now_ms, Some(before_ms))) {
            Err(StoreError::NotAMember | StoreError::NotFound) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    async fn try_leave_party(
        &self,
        party: PartyId,
        device: DeviceId,
        now_ms: u64,
        unseen_since: Option<u64>,
    ) -> Result<Changed> {
        let mut tx = self.database.write().await?;
        let mut state = lock(&mut *tx, party).await?;
        let mut seat = state.member_of(device).ok_or(StoreError::NotAMember)?.clone();
        if unseen_since.is_some_and(|before| seat.last_seen_ms >= before) {
            return Err(StoreError::NotAMember);
        }
        seat.left_at_ms = Some(now_ms);
        let number = seat.number;
        let successor = state
            .members()
            .filter(|other| other.number != number)
            .min_by_key(|other| (other.joined_at_ms, other.number))
            .map(|other| other.number);
        if successor.is_none() && !state.row.persistent {
            tx.delete_party(party).await?;
            tx.commit().await?;
            let events = vec![(state.row.seq + 1, PartyEvent::Deleted)];
            return Ok(Changed { party, events });
        }
        tx.save_seat(party, &seat).await?;
        if let Some(successor) = successor.filter(|_| state.row.host == number) {
            state.row.host = successor;
        }
        state.row.version += 1;
        let events = vec![
            PartyEvent::MemberLeft {
                member: number,
                how: Departure::Left,
            },
            PartyEvent::Updated {
                party: state.row.settings(),
            },
        ];
        let events = record(&mut *tx, &mut state.row, events, now_ms).await?;
        tx.commit().await?;
        Ok(Changed { party, events })
    }
}
