//! Invites after they were made.

use lanrage_shared::ids::{DeviceId, PartyId};
use uuid::Uuid;

use super::{Store, lock, require_host, retry};
use crate::error::{Refusal, Result, StoreError};
use crate::rows::{InviteRow, PartyState};

impl Store {
    /// The invites of a party that `device` is the host of, oldest first, as far as they still admit somebody.
    pub async fn invites(&self, party: PartyId, device: DeviceId, now_ms: u64) -> Result<Vec<InviteRow>> {
        let mut tx = self.read("invites").await?;
        let row = tx.party(party).await?.ok_or(StoreError::NotFound)?;
        let seats = tx.seats(party).await?;
        let mut invites = tx.invites(party).await?;
        tx.commit().await?;
        let state = PartyState { row, seats };
        require_host(&state, device)?;
        invites.retain(|invite| invite.admits(state.row.secret_epoch, now_ms));
        Ok(invites)
    }

    /// Ends an invite of a party that `device` is the host of.
    pub async fn revoke_invite(&self, party: PartyId, device: DeviceId, invite: Uuid) -> Result<()> {
        retry!(self.try_revoke_invite(party, device, invite))
    }

    async fn try_revoke_invite(&self, party: PartyId, device: DeviceId, invite: Uuid) -> Result<()> {
        let mut tx = self.write("revoke_invite").await?;
        require_host(&lock(&mut *tx, party).await?, device)?;
        if !tx.delete_invite(party, invite).await? {
            return Err(Refusal::NoSuchInvite.into());
        }
        tx.commit().await
    }
}
