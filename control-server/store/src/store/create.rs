//! Creating a party, and invites to it.

use lanrage_shared::api::invite::InviteCreated;
use lanrage_shared::ids::{DeviceId, PartyId};
use uuid::Uuid;

use super::{Store, lock, require_host, require_room_for_party, retry};
use crate::database::Transaction;
use crate::error::{Refusal, Result, StoreError};
use crate::rows::{InviteRow, PartyRow, PartyState, SeatRow};

/// A party about to be: its settings, its first member and its first invite.
#[derive(Debug, Clone)]
pub struct Founding {
    pub party: PartyRow,
    pub host: SeatRow,
    pub invite: NewInviteRow,
}

/// An invite about to be.
#[derive(Debug, Clone)]
pub struct NewInviteRow {
    pub id: Uuid,
    pub auth_hash: [u8; 32],
    pub sealed_secret: Vec<u8>,
    /// The epoch of that secret, as far as its maker says; a new party has but one.
    pub secret_epoch: Option<u32>,
    pub expires_at_ms: u64,
    pub max_uses: Option<u32>,
}

/// A party that now exists.
#[derive(Debug, Clone)]
pub struct Created {
    pub state: PartyState,
    pub invite: InviteCreated,
}

impl Store {
    /// Creates a party with its host and one invite. Whoever repeats it after a lost answer, with the same invite, gets the
    /// party it has already.
    pub async fn create_party(&self, founding: &Founding) -> Result<Created> {
        retry!(self.try_create_party(founding))
    }

    async fn try_create_party(&self, founding: &Founding) -> Result<Created> {
        let Founding { party, host, invite } = founding;
        let mut tx = self.write("create_party").await?;
        if let Some(created) = created_before(&mut *tx, founding).await? {
            return Ok(created);
        }
        require_room_for_party(&mut *tx, host.device, &self.bounds).await?;
        tx.insert_party(party).await?;
        tx.insert_seat(party.id, host).await?;
        let invite = insert_invite(&mut *tx, party, invite, party.created_at_ms).await?;
        tx.commit().await?;
        let state = PartyState {
            row: party.clone(),
            seats: vec![host.clone()],
        };
        Ok(Created { state, invite })
    }

    /// Adds an invite to a party that `device` is the host of; once, however often it is repeated.
    pub async fn create_invite(
        &self,
        party: PartyId,
        device: DeviceId,
        invite: &NewInviteRow,
        now_ms: u64,
    ) -> Result<InviteCreated> {
        retry!(self.try_create_invite(party, device, invite, now_ms))
    }

    async fn try_create_invite(
        &self,
        party: PartyId,
        device: DeviceId,
        invite: &NewInviteRow,
        now_ms: u64,
    ) -> Result<InviteCreated> {
        let mut tx = self.write("create_invite").await?;
        let state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        if let Some(created) = invited_before(&mut *tx, party, invite).await? {
            return Ok(created);
        }
        require_current_secret(&state, invite)?;
        if tx.count_invites(party, now_ms).await? >= self.bounds.invites_per_party {
            return Err(Refusal::TooManyInvites.into());
        }
        // Whoever makes invites that expire at once fills the disk no more than the others.
        tx.trim_invites(party, self.bounds.invites_per_party, now_ms).await?;
        let created = insert_invite(&mut *tx, &state.row, invite, now_ms).await?;
        tx.commit().await?;
        Ok(created)
    }
}

/// Refuses an invite that leads to another secret than the party's: it would be taken for one that leads to the newest.
fn require_current_secret(state: &PartyState, invite: &NewInviteRow) -> Result<()> {
    let (current_version, current_secret_epoch) = (state.row.version, state.row.secret_epoch);
    match invite.secret_epoch {
        Some(epoch) if epoch != current_secret_epoch => Err(StoreError::OtherSecret {
            current_version,
            current_secret_epoch,
        }),
        _ => Ok(()),
    }
}

/// The party that the same device created with the same invite, while it has not changed.
async fn created_before(tx: &mut dyn Transaction, founding: &Founding) -> Result<Option<Created>> {
    let Some(invite) = tx.invite(&founding.invite.auth_hash).await? else {
        return Ok(None);
    };
    let Some(row) = tx.party(invite.party).await? else {
        return Ok(None);
    };
    let seats = tx.seats(row.id).await?;
    let (was, is) = (&founding.party, &row);
    let same_party =
        (is.seq, &is.name, is.persistent, is.max_members) == (0, &was.name, was.persistent, was.max_members);
    let [host] = seats.as_slice() else {
        return Ok(None);
    };
    let same_host = (host.device, host.device_key, &host.name)
        == (founding.host.device, founding.host.device_key, &founding.host.name);
    if !(same_party && same_host && is_repeated(&invite, &founding.invite)) {
        return Ok(None);
    }
    let invite = InviteCreated {
        id: invite.id,
        expires_at_ms: invite.expires_at_ms,
    };
    let state = PartyState { row, seats };
    Ok(Some(Created { state, invite }))
}

/// The invite of this party that is asked for once more, if there is one.
async fn invited_before(
    tx: &mut dyn Transaction,
    party: PartyId,
    asked: &NewInviteRow,
) -> Result<Option<InviteCreated>> {
    let Some(kept) = tx.invite(&asked.auth_hash).await? else {
        return Ok(None);
    };
    if kept.party != party || !is_repeated(&kept, asked) {
        return Err(Refusal::InviteExists.into());
    }
    Ok(Some(InviteCreated {
        id: kept.id,
        expires_at_ms: kept.expires_at_ms,
    }))
}

/// Whether an invite is asked for once more. That takes its code, which only its maker has, and the same sealing.
fn is_repeated(kept: &InviteRow, asked: &NewInviteRow) -> bool {
    kept.auth_hash == asked.auth_hash && kept.sealed_secret == asked.sealed_secret && kept.max_uses == asked.max_uses
}

async fn insert_invite(
    tx: &mut dyn Transaction,
    party: &PartyRow,
    invite: &NewInviteRow,
    now_ms: u64,
) -> Result<InviteCreated> {
    let row = InviteRow {
        id: invite.id,
        party: party.id,
        auth_hash: invite.auth_hash,
        sealed_secret: invite.sealed_secret.clone(),
        secret_epoch: party.secret_epoch,
        expires_at_ms: invite.expires_at_ms,
        max_uses: invite.max_uses,
        uses: 0,
        created_at_ms: now_ms,
    };
    if !tx.insert_invite(&row).await? {
        return Err(Refusal::InviteExists.into());
    }
    Ok(InviteCreated {
        id: row.id,
        expires_at_ms: row.expires_at_ms,
    })
}
