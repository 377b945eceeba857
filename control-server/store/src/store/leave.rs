//! Ceasing to be a member: by leaving, by being removed, by not being seen.
//!
//! Each of them starts an epoch, because whoever is gone knows the party's secret, and tells the relays, in the same
//! transaction: a removal that is acknowledged is one no relay can miss.

use lanrage_shared::ids::{DeviceId, IdentityKey, MemberId, PartyId};
use lanrage_shared::stream::{Departure, PartyEvent};

use super::{Bounds, Changed, Store, lock, record, require_host, require_version, retry};
use crate::database::Transaction;
use crate::error::{Refusal, Result, StoreError};
use crate::news::News;
use crate::rows::{BanRow, PartyRow, PartyState, SeatRow};

/// Whom a host removes.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    pub member: MemberId,
    /// No invite admits the device again, and the one that it came by admits nobody.
    pub ban: bool,
}

/// A party without the member that was removed.
#[derive(Debug, Clone)]
pub struct Removed {
    pub state: PartyState,
    pub changed: Changed,
    /// The hash of the invite that a ban ended. One that admitted nobody anyway is not named.
    pub ended_invite: Option<[u8; 32]>,
}

/// Why a membership ends, but for a host's wish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Departing {
    Leaving,
    /// The operator wishes it.
    Expelled,
    /// If it was not seen since then, in ms.
    Unseen(u64),
}

impl Store {
    /// Ends a device's membership and keeps its number for it. When the host leaves, whoever has been there longest becomes
    /// host; when the last member leaves, the party ends unless it is persistent.
    pub async fn leave_party(&self, party: PartyId, device: DeviceId, now_ms: u64) -> Result<Changed> {
        retry!(self.try_leave_party(party, device, now_ms, Departing::Leaving))
    }

    /// As [`Store::leave_party`], for a member that has not been seen since `before_ms`; none when it has been by now.
    pub async fn remove_unseen(
        &self,
        party: PartyId,
        device: DeviceId,
        before_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Changed>> {
        match retry!(self.try_leave_party(party, device, now_ms, Departing::Unseen(before_ms))) {
            Err(StoreError::NotAMember | StoreError::NotFound) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    pub(super) async fn try_leave_party(
        &self,
        party: PartyId,
        device: DeviceId,
        now_ms: u64,
        why: Departing,
    ) -> Result<Changed> {
        let mut tx = self.write("leave_party").await?;
        let mut state = lock(&mut *tx, party).await?;
        let Some(seat) = state.member_of(device).cloned() else {
            // Whoever never was in it does not learn that the party exists.
            let was_in = state.seats.iter().any(|seat| seat.device == device);
            return Err(if was_in {
                StoreError::NotAMember
            } else {
                StoreError::NotFound
            });
        };
        if matches!(why, Departing::Unseen(before_ms) if seat.last_seen_ms >= before_ms) {
            return Err(StoreError::NotAMember);
        }
        let successor = state
            .members()
            .filter(|other| other.number != seat.number)
            .min_by_key(|other| (other.joined_at_ms, other.number))
            .map(|other| other.number);
        if successor.is_none() && !state.row.persistent {
            let changed = end_party(&mut *tx, &state, now_ms).await?;
            tx.commit().await?;
            return Ok(changed);
        }
        if let Some(successor) = successor.filter(|_| state.row.host == seat.number) {
            state.row.host = successor;
        }
        let how = match why {
            Departing::Leaving => Departure::Left,
            Departing::Expelled => Departure::Kicked,
            Departing::Unseen(_) => Departure::Forgotten,
        };
        let changed = depart(&mut *tx, &mut state, seat, how, now_ms).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Removes another member from a party that `device` is the host of and that still has version `expected`.
    pub async fn remove_member(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        removal: Removal,
        now_ms: u64,
    ) -> Result<Removed> {
        retry!(self.try_remove_member(party, device, expected, removal, now_ms))
    }

    async fn try_remove_member(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        removal: Removal,
        now_ms: u64,
    ) -> Result<Removed> {
        let mut tx = self.write("remove_member").await?;
        let mut state = lock(&mut *tx, party).await?;
        require_host(&state, device)?;
        require_version(&state, expected)?;
        let seat = state.members().find(|seat| seat.number == removal.member).cloned();
        let seat = seat.ok_or(Refusal::NoSuchMember(removal.member))?;
        if seat.number == state.row.host {
            return Err(Refusal::RemovingHost.into());
        }
        let (how, ended_invite) = if removal.ban {
            ban(&mut *tx, party, &seat, &self.bounds, now_ms).await?;
            let ended = end_arrival(&mut *tx, &state.row, seat.number, now_ms).await?;
            (Departure::Banned, ended)
        } else {
            (Departure::Kicked, None)
        };
        let changed = depart(&mut *tx, &mut state, seat, how, now_ms).await?;
        tx.commit().await?;
        Ok(Removed {
            state,
            changed,
            ended_invite,
        })
    }

    /// The bans of a party that `device` is the host of.
    pub async fn bans(&self, party: PartyId, device: DeviceId) -> Result<Vec<BanRow>> {
        let mut tx = self.read("bans").await?;
        let row = tx.party(party).await?.ok_or(StoreError::NotFound)?;
        let seats = tx.seats(party).await?;
        require_host(&PartyState { row, seats }, device)?;
        let bans = tx.bans(party).await?;
        tx.commit().await?;
        Ok(bans)
    }

    /// Lifts a ban of a party that `device` is the host of.
    pub async fn lift_ban(&self, party: PartyId, device: DeviceId, banned: DeviceId) -> Result<()> {
        retry!(self.try_lift_ban(party, device, banned))
    }

    async fn try_lift_ban(&self, party: PartyId, device: DeviceId, banned: DeviceId) -> Result<()> {
        let mut tx = self.write("lift_ban").await?;
        require_host(&lock(&mut *tx, party).await?, device)?;
        if !tx.delete_ban(party, banned).await? {
            return Err(Refusal::NotBanned.into());
        }
        tx.commit().await
    }
}

async fn ban(tx: &mut dyn Transaction, party: PartyId, seat: &SeatRow, bounds: &Bounds, now_ms: u64) -> Result<()> {
    if tx.bans(party).await?.len() >= bounds.bans_per_party {
        return Err(Refusal::TooManyBans.into());
    }
    let ban = BanRow {
        device: seat.device,
        identity_key: seat.identity_key,
        name: seat.name.clone(),
        at_ms: now_ms,
    };
    tx.insert_ban(party, &ban).await
}

/// Ends the invite that a member came by: with it, whoever is banned would come back as another device. Gives its hash, if it
/// admitted anybody until now.
async fn end_arrival(
    tx: &mut dyn Transaction,
    party: &PartyRow,
    member: MemberId,
    now_ms: u64,
) -> Result<Option<[u8; 32]>> {
    let Some(id) = tx.arrival(party.id, member).await? else {
        return Ok(None);
    };
    let invites = tx.invites(party.id).await?;
    let invite = invites.into_iter().find(|invite| invite.id == id);
    tx.delete_invite(party.id, id).await?;
    let admitting = invite.filter(|invite| invite.admits(party.secret_epoch, now_ms));
    Ok(admitting.map(|invite| invite.auth_hash))
}

/// Frees the member's seat, one epoch on.
async fn depart(
    tx: &mut dyn Transaction,
    state: &mut PartyState,
    mut seat: SeatRow,
    how: Departure,
    now_ms: u64,
) -> Result<Changed> {
    let party = state.row.id;
    seat.left_at_ms = Some(now_ms);
    tx.save_seat(party, &seat).await?;
    tx.drop_secrets_for(party, seat.number, u32::MAX).await?;
    state.row.epoch += 1;
    state.row.version += 1;
    tx.append_revocation(party, state.row.epoch, &[seat.identity_key], now_ms)
        .await?;
    tx.announce(&News::Revoked).await?;
    let events = vec![
        PartyEvent::MemberLeft {
            member: seat.number,
            how,
        },
        PartyEvent::Updated {
            party: state.row.settings(),
        },
    ];
    if let Some(kept) = state.seats.iter_mut().find(|kept| kept.number == seat.number) {
        *kept = seat;
    }
    let events = record(tx, &mut state.row, events, now_ms).await?;
    Ok(Changed { party, events })
}

/// Deletes a party; everybody still in it has to leave the relays, too.
pub(super) async fn end_party(tx: &mut dyn Transaction, state: &PartyState, now_ms: u64) -> Result<Changed> {
    let party = state.row.id;
    let everybody: Vec<IdentityKey> = state.members().map(|seat| seat.identity_key).collect();
    tx.append_revocation(party, state.row.epoch + 1, &everybody, now_ms)
        .await?;
    tx.announce(&News::Revoked).await?;
    tx.delete_party(party).await?;
    let last = state.row.seq + 1;
    let news = News::Events {
        party,
        first: last,
        last,
    };
    tx.announce(&news).await?;
    let events = vec![(last, PartyEvent::Deleted)];
    Ok(Changed { party, events })
}
