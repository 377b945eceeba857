//! Changing a party's settings or network, and ending it.

use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_shared::names::PartyName;
use lanrage_shared::stream::PartyEvent;

use super::leave::end_party;
use super::{Changed, Store, lock, record, require_host, require_version, retry};
use crate::error::{Refusal, Result};
use crate::rows::{PartyRow, PartyState};

/// New settings; absent ones stay.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    pub name: Option<PartyName>,
    pub persistent: Option<bool>,
    pub max_members: Option<u16>,
    pub locked: Option<bool>,
    /// Another member takes over.
    pub host: Option<MemberId>,
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
        let mut tx = self.write("update_party").await?;
        let mut state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        require_version(&state, expected)?;
        if let Some(host) = patch
            .host
            .filter(|host| state.members().all(|seat| seat.number != *host))
        {
            return Err(Refusal::NoSuchMember(host).into());
        }
        let row = &mut state.row;
        if let Some(name) = &patch.name {
            row.name = name.clone();
        }
        row.persistent = patch.persistent.unwrap_or(row.persistent);
        row.max_members = patch.max_members.unwrap_or(row.max_members);
        row.locked = patch.locked.unwrap_or(row.locked);
        row.host = patch.host.unwrap_or(row.host);
        row.version += 1;
        let updated = PartyEvent::Updated { party: row.settings() };
        let events = record(&mut *tx, row, vec![updated], now_ms).await?;
        tx.commit().await?;
        Ok((state, Changed { party, events }))
    }

    /// Gives a party that `device` is the host of, and that still has version `expected`, the subnet that `choose` takes.
    pub async fn move_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        choose: &(dyn Fn(&PartyRow) -> u32 + Sync),
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        retry!(self.try_move_party(party, device, expected, choose, now_ms))
    }

    async fn try_move_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        choose: &(dyn Fn(&PartyRow) -> u32 + Sync),
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        let mut tx = self.write("move_party").await?;
        let mut state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        require_version(&state, expected)?;
        let row = &mut state.row;
        row.net_index = choose(row);
        row.version += 1;
        let updated = PartyEvent::Updated { party: row.settings() };
        let events = record(&mut *tx, row, vec![updated], now_ms).await?;
        tx.commit().await?;
        Ok((state, Changed { party, events }))
    }

    /// Ends a party that `device` is the host of, and that still has version `expected` if one is named, with everything that
    /// belongs to it.
    pub async fn delete_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: Option<u64>,
        now_ms: u64,
    ) -> Result<Changed> {
        retry!(self.try_delete_party(party, device, expected, now_ms))
    }

    async fn try_delete_party(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: Option<u64>,
        now_ms: u64,
    ) -> Result<Changed> {
        let mut tx = self.write("delete_party").await?;
        let state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        expected.map_or(Ok(()), |expected| require_version(&state, expected))?;
        let changed = end_party(&mut *tx, &state, now_ms).await?;
        tx.commit().await?;
        Ok(changed)
    }
}
