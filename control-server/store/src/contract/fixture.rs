//! Parties and devices to try things with.

use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId};
use uuid::Uuid;

use crate::{
    Founding, NewInviteRow, PartyRow, PartyState, Redeemed, Redemption, Refusal, Replay, Result, SeatRow, Store,
};

/// When everything happens.
pub(super) const NOW: u64 = 1_700_000_000_000;

pub(super) fn device(n: u32) -> DeviceId {
    DeviceId::of(&identity(n))
}

pub(super) fn identity(n: u32) -> IdentityKey {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    IdentityKey(key)
}

pub(super) fn device_key(n: u32) -> DeviceKey {
    DeviceKey(identity(n).0)
}

pub(super) fn party_id(n: u32) -> PartyId {
    PartyId(Uuid::from_u128(u128::from(n)))
}

pub(super) fn hash(n: u32) -> [u8; 32] {
    identity(n).0
}

pub(super) fn invite(n: u32, max_uses: Option<u32>) -> NewInviteRow {
    NewInviteRow {
        id: Uuid::from_u128(u128::from(n)),
        auth_hash: hash(n),
        sealed_secret: vec![1, 2, 3],
        secret_epoch: None,
        expires_at_ms: NOW + 1000,
        max_uses,
    }
}

/// Party `n`, of device `n`, with invite `n`.
pub(super) fn founding(n: u32, max_uses: Option<u32>) -> Founding {
    Founding {
        party: PartyRow {
            id: party_id(n),
            name: "Friday".parse().unwrap(),
            host: MemberId(100),
            epoch: 1,
            secret_epoch: 1,
            version: 1,
            seq: 0,
            persistent: false,
            max_members: 254,
            locked: false,
            net_index: 5,
            created_at_ms: NOW,
        },
        host: SeatRow {
            number: MemberId(100),
            device: device(n),
            identity_key: identity(n),
            device_key: device_key(n),
            name: "Anna".parse().unwrap(),
            joined_at_ms: NOW,
            last_seen_ms: NOW,
            left_at_ms: None,
        },
        invite: invite(n, max_uses),
    }
}

/// Device `who` shows invite `n`.
pub(super) fn redemption(who: u32, n: u32) -> Redemption {
    Redemption {
        auth_hash: hash(n),
        device: device(who),
        identity_key: identity(who),
        device_key: device_key(who),
        name: "Ben".parse().unwrap(),
        now_ms: NOW + u64::from(who % 500),
    }
}

/// Admits up to the party's limit, at the kept number or the lowest free one.
pub(super) fn lowest_free(
    party: &PartyRow,
    seats: &[SeatRow],
    who: DeviceId,
) -> std::result::Result<MemberId, Refusal> {
    let full = Refusal::PartyFull {
        party: party.name.clone(),
        max_members: party.max_members,
    };
    if seats.iter().filter(|seat| seat.is_member()).count() >= usize::from(party.max_members) {
        return Err(full);
    }
    if let Some(kept) = seats.iter().find(|seat| seat.device == who) {
        return Ok(kept.number);
    }
    (1..=254)
        .map(MemberId)
        .find(|number| seats.iter().all(|seat| seat.number != *number))
        .ok_or(full)
}

pub(super) async fn redeem(store: &Store, who: u32, n: u32) -> Result<Redeemed> {
    let redemption = redemption(who, n);
    store
        .redeem_invite(&redemption, &|party, seats| {
            lowest_free(party, seats, redemption.device)
        })
        .await
}

/// Runs `count` tasks at once and gives what each returned.
pub(super) async fn at_once<T, F>(count: u32, task: impl Fn(u32) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(task(n))).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

/// The number of the party's last event, and what its founder missed since that number.
pub(super) async fn replay(store: &Store, party: u32, since: Option<u64>) -> Result<(u64, Replay)> {
    let missed = store.replay(party_id(party), device(party), since, 1).await?;
    Ok((missed.seq, missed.replay))
}

/// The party as device `who` sees it.
pub(super) async fn seen_by(store: &Store, who: u32, party: u32) -> PartyState {
    store.party(party_id(party), device(who)).await.unwrap()
}
