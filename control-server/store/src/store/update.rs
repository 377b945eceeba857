//! Changing a party's settings, and ending it.

use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::names::PartyName;
use lanrage_shared::stream::PartyEvent;

use super::{Changed, Store, lock, record, require_host, retry};
use crate::error::{Result, StoreError};
use crate::rows::PartyState;

/// New settings; absent ones stay.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub name: Option<PartyName>,
    pub persistent: Option<bool>,
    pub max_members: Option<u16>,
}

impl Store {
    /// Changes settings of a party that `device` is the host of and that still has version `expected`.
    pub async fn update_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        patch: &Patch,
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        retry!(self.try_update_party(party, device, expected, patch, now_ms))
    }

    async fn try_update_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        patch: &Patch,
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        let mut tx = self.database.write().await?;
        let mut state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        if state.row.version != expected {
            return Err(StoreError::Conflict {
                current_version: state.row.version,
            });
        }
        let row = &mut state.row;
        if let Some(name) = &patch.name {
            row.name = name.clone();
        }
        row.persistent = patch.persistent.unwrap_or(row.persistent);
        row.max_members = patch.max_members.unwrap_or(row.max_members);
        row.version += 1;
        let updated = PartyEvent::Updated { party: row.settings() };
        let events = record(&mut *tx, row, vec![updated], now_ms).await?;
        tx.commit().await?;
        Ok((state, Changed { party, events }))
    }

    /// Ends a party that `device` is the host of, with everything that belongs to it.
    pub async fn delete_party(&self, party: PartyId, device: DeviceId) -> Result<Changed> {
        retry!(self.try_delete_party(party, device))
    }

    async fn try_delete_party(&self, party: PartyId, device: DeviceId) -> Result<Changed> {
        let mut tx = self.database.write().await?;
        let state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        tx.delete_party(party).await?;
        tx.commit().await?;
        let events = vec![(state.row.seq + 1, PartyEvent::Deleted)];
        Ok(Changed { party, events })
    }
}
