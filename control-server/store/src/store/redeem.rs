//! Redeeming an invite.
//!
//! All in one transaction that holds the party's lock: the invite is used by one conditional statement, so that of any
//! number of devices that redeem a one-use invite at once exactly one gets in; and whatever refuses the joiner after that
//! takes the use back, because nothing is committed.

use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId};
use lanrage_shared::names::MemberName;
use lanrage_shared::stream::PartyEvent;

use super::{Bounds, Changed, Store, lock, record, require_room_for_party, retry};
use crate::database::Transaction;
use crate::error::{Refusal, Result, StoreError};
use crate::rows::{InviteRow, PartyRow, PartyState, SeatRow};

/// Decides, from the party and everybody who has a number in it, whether a device may join and under which number. A number
/// that somebody else's kept seat has is taken from that seat.
pub type Admit<'a> = &'a (dyn Fn(&PartyRow, &[SeatRow]) -> std::result::Result<MemberId, Refusal> + Sync);

/// A device that shows an invite.
#[derive(Debug, Clone)]
pub struct Redemption {
    pub auth_hash: [u8; 32],
    pub device: DeviceId,
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub name: MemberName,
    pub now_ms: u64,
}

/// A device that is in.
#[derive(Debug, Clone)]
pub struct Redeemed {
    pub state: PartyState,
    pub me: MemberId,
    pub sealed_secret: Vec<u8>,
    pub changed: Changed,
}

impl Store {
    /// Makes the device a member, or, when it is one already, notes its name and key without using the invite up.
    pub async fn redeem_invite(&self, redemption: &Redemption, admit: Admit<'_>) -> Result<Redeemed> {
        retry!(self.try_redeem_invite(redemption, admit))
    }

    async fn try_redeem_invite(&self, redemption: &Redemption, admit: Admit<'_>) -> Result<Redeemed> {
        let mut tx = self.write("redeem_invite").await?;
        let unknown = StoreError::Refused(Refusal::InviteUnknown);
        let invite = tx.invite(&redemption.auth_hash).await?.ok_or(unknown)?;
        let mut state = match lock(&mut *tx, invite.party).await {
            Err(StoreError::NotFound) => return Err(Refusal::InviteUnknown.into()),
            outcome => outcome?,
        };
        if invite.secret_epoch < state.row.secret_epoch {
            return Err(Refusal::InviteEnded.into());
        }
        let (me, events) = match state.member_of(redemption.device).cloned() {
            Some(seat) => come_back(&mut *tx, &mut state, seat, redemption).await?,
            None => join(&mut *tx, &mut state, &invite, redemption, &self.bounds, admit).await?,
        };
        let changed = Changed {
            party: state.row.id,
            events: record(&mut *tx, &mut state.row, events, redemption.now_ms).await?,
        };
        tx.commit().await?;
        Ok(Redeemed {
            state,
            me,
            sealed_secret: invite.sealed_secret,
            changed,
        })
    }
}

/// A member redeems again: after a lost answer, or with a new name or key.
async fn come_back(
    tx: &mut dyn Transaction,
    state: &mut PartyState,
    mut seat: SeatRow,
    redemption: &Redemption,
) -> Result<(MemberId, Vec<PartyEvent>)> {
    let number = seat.number;
    let name = free_name(state, redemption);
    if seat.name == name && seat.device_key == redemption.device_key {
        return Ok((number, Vec::new()));
    }
    require_own_key(state, redemption)?;
    // What was sealed to the former key is of no use; the invite leads to the newest secret.
    tx.drop_secrets_for(state.row.id, number, u32::MAX).await?;
    seat.name = name;
    seat.device_key = redemption.device_key;
    tx.save_seat(state.row.id, &seat).await?;
    state.row.version += 1;
    let events = joined(state, seat);
    Ok((number, events))
}

async fn join(
    tx: &mut dyn Transaction,
    state: &mut PartyState,
    invite: &InviteRow,
    redemption: &Redemption,
    bounds: &Bounds,
    admit: Admit<'_>,
) -> Result<(MemberId, Vec<PartyEvent>)> {
    if tx
        .bans(state.row.id)
        .await?
        .iter()
        .any(|ban| ban.device == redemption.device)
    {
        let party = state.row.name.clone();
        return Err(Refusal::Banned { party }.into());
    }
    if state.row.locked {
        let party = state.row.name.clone();
        return Err(Refusal::Locked { party }.into());
    }
    if !tx.use_invite(invite.id, redemption.now_ms).await? {
        let expired = invite.expires_at_ms <= redemption.now_ms;
        return Err(if expired {
            Refusal::InviteExpired
        } else {
            Refusal::InviteUsed
        }
        .into());
    }
    require_room_for_party(tx, redemption.device, bounds).await?;
    require_own_key(state, redemption)?;
    let party = state.row.id;
    let number = admit(&state.row, &state.seats)?;
    let kept = state.seats.iter().find(|seat| seat.device == redemption.device);
    if let Some(kept) = kept.filter(|kept| kept.number != number) {
        tx.delete_seat(party, kept.number).await?;
    }
    tx.delete_seat(party, number).await?;
    let seat = SeatRow {
        number,
        device: redemption.device,
        identity_key: redemption.identity_key,
        device_key: redemption.device_key,
        name: free_name(state, redemption),
        joined_at_ms: redemption.now_ms,
        last_seen_ms: redemption.now_ms,
        left_at_ms: None,
    };
    tx.insert_seat(party, &seat).await?;
    tx.note_arrival(party, number, invite.id).await?;
    if state.members().next().is_none() {
        state.row.host = number;
    }
    state.row.version += 1;
    Ok((number, joined(state, seat)))
}

/// Refuses a WireGuard key that another member has: peers tell members apart by their keys. Nobody proves that a key is theirs, so
/// one that is somebody else's is taken only for as long as its holder is a member, whom the host sees and can remove.
fn require_own_key(state: &PartyState, redemption: &Redemption) -> Result<()> {
    let mut others = state.members().filter(|seat| seat.device != redemption.device);
    if others.any(|seat| seat.device_key == redemption.device_key) {
        return Err(Refusal::KeyTaken.into());
    }
    Ok(())
}

/// The name the device asks for, or the first of "name 2", "name 3" and so on that no other member has.
fn free_name(state: &PartyState, redemption: &Redemption) -> MemberName {
    let others = || state.members().filter(|seat| seat.device != redemption.device);
    let is_free = |name: &MemberName| !others().any(|other| other.name.looks_like(name));
    let wanted = &redemption.name;
    // One of these is free: there is one more of them than there are others.
    let numbered = (2..=others().count() + 2).map(|number| wanted.numbered(number));
    std::iter::once(wanted.clone())
        .chain(numbered)
        .find(is_free)
        .unwrap_or_else(|| wanted.clone())
}

/// Puts the seat into `state`, for whoever joined or came back, and tells the party.
fn joined(state: &mut PartyState, seat: SeatRow) -> Vec<PartyEvent> {
    let member = seat.member(&state.row.net());
    state
        .seats
        .retain(|other| other.number != seat.number && other.device != seat.device);
    state.seats.push(seat);
    state.seats.sort_by_key(|seat| seat.number);
    vec![
        PartyEvent::MemberJoined { member },
        PartyEvent::Updated {
            party: state.row.settings(),
        },
    ]
}
