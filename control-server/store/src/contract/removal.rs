//! Who is removed, and what relays are told.

use lanrage_shared::api::secret::SecretFor;
use lanrage_shared::ids::{IdentityKey, MemberId};
use lanrage_shared::stream::{Departure, PartyEvent};

use super::fixture::{NOW, at_once, device, founding, hash, identity, invite, party_id, redeem, seen_by};
use super::invites::refusal;
use crate::{Changed, NewSecretRow, Refusal, Removal, Removed, Result, Store, StoreError};

pub(super) fn kick(member: MemberId) -> Removal {
    Removal { member, ban: false }
}

fn ban(member: MemberId) -> Removal {
    Removal { member, ban: true }
}

/// Removes a member of party 1 as its founder, whatever version it has.
pub(super) async fn remove(store: &Store, removal: Removal) -> Result<Removed> {
    let version = seen_by(store, 1, 1).await.row.version;
    store
        .remove_member(party_id(1), device(1), version, removal, NOW + 5)
        .await
}

fn departure(changed: &Changed) -> (MemberId, Departure) {
    match changed.events.as_slice() {
        [
            (_, PartyEvent::MemberLeft { member, how }),
            (_, PartyEvent::Updated { .. }),
        ] => (*member, *how),
        _ => panic!("something else happened: {changed:?}"),
    }
}

/// Every revocation: its epoch and who had to go.
async fn revoked(store: &Store) -> Vec<(u32, Vec<IdentityKey>)> {
    let all = store.revocations_after(0, 1000).await.unwrap();
    all.into_iter()
        .map(|revocation| (revocation.epoch, revocation.removed))
        .collect()
}

pub(super) async fn only_the_host_removes_others_and_only_in_the_version_it_saw(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&founding(2, None)).await.unwrap();
    let ben = redeem(&store, 5, 1).await.unwrap();
    let (me, version) = (ben.me, ben.state.row.version);
    let by = async |who, version, removal| {
        store
            .remove_member(party_id(1), device(who), version, removal, NOW)
            .await
    };
    let outcome = by(5, version, kick(MemberId(100))).await;
    assert!(matches!(outcome, Err(StoreError::NotHost { .. })));
    let outcome = by(2, version, kick(me)).await;
    assert!(
        matches!(outcome, Err(StoreError::NotFound)),
        "the host of another party"
    );
    let outcome = by(1, version - 1, kick(me)).await;
    assert!(matches!(outcome, Err(StoreError::Conflict { current_version }) if current_version == version));
    let nobody = MemberId(77);
    assert_eq!(
        refusal(by(1, version, kick(nobody)).await),
        Refusal::NoSuchMember(nobody)
    );
    assert_eq!(
        refusal(by(1, version, kick(MemberId(100))).await),
        Refusal::RemovingHost
    );
    assert_eq!(seen_by(&store, 5, 1).await.row.version, version);
    let removed = by(1, version, kick(me)).await.unwrap();
    assert_eq!(departure(&removed.changed), (me, Departure::Kicked));
    assert_eq!(removed.state, seen_by(&store, 1, 1).await, "the answer is what is kept");
    let again = by(1, version + 1, kick(me)).await;
    assert_eq!(refusal(again), Refusal::NoSuchMember(me));
}

pub(super) async fn every_departure_starts_an_epoch_and_is_revoked(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    assert_eq!(store.last_revocation().await.unwrap(), 0);
    redeem(&store, 5, 1).await.unwrap();
    let six = redeem(&store, 6, 1).await.unwrap().me;
    redeem(&store, 7, 1).await.unwrap();
    let left = store.leave_party(party_id(1), device(5), NOW).await.unwrap();
    assert_eq!(departure(&left).1, Departure::Left);
    remove(&store, kick(six)).await.unwrap();
    let forgotten = store
        .remove_unseen(party_id(1), device(7), NOW + 1000, NOW + 1000)
        .await
        .unwrap();
    assert_eq!(departure(&forgotten.unwrap()).1, Departure::Forgotten);
    let row = seen_by(&store, 1, 1).await.row;
    assert_eq!((row.epoch, row.secret_epoch), (4, 1));
    let told = [(2, vec![identity(5)]), (3, vec![identity(6)]), (4, vec![identity(7)])];
    assert_eq!(revoked(&store).await, told);
    let rest = store.revocations_after(1, 1).await.unwrap();
    assert_eq!((rest.len(), rest[0].seq, rest[0].party), (1, 2, party_id(1)));
    store.delete_revocations(NOW + 1000).await.unwrap();
    assert_eq!(revoked(&store).await.len(), 1);
    assert_eq!(store.last_revocation().await.unwrap(), 3, "numbers go on");
}

pub(super) async fn the_end_of_a_party_is_revoked_for_everybody(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&founding(2, None)).await.unwrap();
    redeem(&store, 5, 1).await.unwrap();
    store.delete_party(party_id(1), device(1), None, NOW).await.unwrap();
    store.leave_party(party_id(2), device(2), NOW).await.unwrap();
    let mut told = revoked(&store).await;
    told[0].1.sort();
    let mut both = vec![identity(1), identity(5)];
    both.sort();
    assert_eq!(told, [(2, both), (2, vec![identity(2)])]);
}

pub(super) async fn revocations_have_no_gaps_under_concurrency(store: Store) {
    for n in 1..=20 {
        store.create_party(&founding(n, None)).await.unwrap();
    }
    at_once(20, |n| {
        let store = store.clone();
        async move {
            let known = store.last_revocation().await.unwrap();
            store.leave_party(party_id(n + 1), device(n + 1), NOW).await.unwrap();
            // Whoever sees a number sees all below it, at any moment.
            let all = store.revocations_after(0, 1000).await.unwrap();
            let numbers: Vec<u64> = all.iter().map(|revocation| revocation.seq).collect();
            assert!(numbers.len() as u64 > known);
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        }
    })
    .await;
    assert_eq!(store.last_revocation().await.unwrap(), 20);
}

pub(super) async fn a_ban_outlives_every_invite_until_it_is_lifted(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let me = redeem(&store, 5, 1).await.unwrap().me;
    let removed = remove(&store, ban(me)).await.unwrap();
    assert_eq!(departure(&removed.changed), (me, Departure::Banned));
    for n in [7, 8] {
        let fresh = invite(n, Some(1));
        store.create_invite(party_id(1), device(1), &fresh, NOW).await.unwrap();
    }
    for invite in [7, 8] {
        let banned = refusal(redeem(&store, 5, invite).await);
        assert!(matches!(banned, Refusal::Banned { .. }), "{banned}");
    }
    let bans = store.bans(party_id(1), device(1)).await.unwrap();
    assert_eq!((bans.len(), bans[0].device, bans[0].at_ms), (1, device(5), NOW + 5));
    assert_eq!((bans[0].identity_key, bans[0].name.as_str()), (identity(5), "Ben"));
    store.lift_ban(party_id(1), device(1), device(5)).await.unwrap();
    assert!(store.bans(party_id(1), device(1)).await.unwrap().is_empty());
    // The refusals did not use the invite up.
    assert_eq!(redeem(&store, 5, 7).await.unwrap().me, me);
}

pub(super) async fn a_ban_ends_the_invite_that_the_device_came_by_and_nothing_else(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    for n in [7, 8] {
        let invite = invite(n, None);
        store.create_invite(party_id(1), device(1), &invite, NOW).await.unwrap();
    }
    // It came by another one before.
    redeem(&store, 5, 8).await.unwrap();
    store.leave_party(party_id(1), device(5), NOW).await.unwrap();
    let five = redeem(&store, 5, 7).await.unwrap().me;
    redeem(&store, 6, 7).await.unwrap();
    let removed = remove(&store, ban(five)).await.unwrap();
    assert_eq!(removed.ended_invite, Some(hash(7)));
    // With keys that nobody knows it is another device.
    assert_eq!(refusal(redeem(&store, 50, 7).await), Refusal::InviteUnknown);
    let state = seen_by(&store, 6, 1).await;
    assert_eq!(state.members().count(), 2, "who came by the same invite stays");
    // The host's agent, which still knows the code, seals the next secret under it.
    let six = state.member_of(device(6)).unwrap().number;
    let sealed = SecretFor {
        to: six,
        sealed: "next".to_owned(),
    };
    let next = NewSecretRow {
        epoch: state.row.epoch,
        secrets: vec![sealed],
        invites: vec![(hash(1), vec![4]), (hash(7), vec![4]), (hash(8), vec![4])],
    };
    let version = state.row.version;
    let renewed = store.renew_secret(party_id(1), device(1), version, &next, NOW).await;
    renewed.unwrap();
    assert_eq!(refusal(redeem(&store, 50, 7).await), Refusal::InviteUnknown);
    for (who, n) in [(51, 1), (52, 8)] {
        redeem(&store, who, n).await.unwrap();
    }
}

pub(super) async fn a_kick_leaves_the_invite_and_a_ban_names_only_one_that_let_somebody_in(store: Store) {
    store.create_party(&founding(1, Some(3))).await.unwrap();
    let five = redeem(&store, 5, 1).await.unwrap().me;
    assert_eq!(remove(&store, kick(five)).await.unwrap().ended_invite, None);
    let five = redeem(&store, 5, 1).await.unwrap().me;
    redeem(&store, 6, 1).await.unwrap();
    let removed = remove(&store, ban(five)).await.unwrap();
    assert_eq!(removed.ended_invite, None, "it was used up");
}

pub(super) async fn bans_are_the_hosts_business_and_the_partys_own(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&founding(2, None)).await.unwrap();
    let me = redeem(&store, 5, 1).await.unwrap().me;
    redeem(&store, 6, 1).await.unwrap();
    remove(&store, ban(me)).await.unwrap();
    let fresh = invite(7, None);
    store.create_invite(party_id(1), device(1), &fresh, NOW).await.unwrap();
    for (who, party) in [(6, 1), (2, 1), (5, 1)] {
        let (party, who) = (party_id(party), device(who));
        assert!(store.bans(party, who).await.is_err());
        assert!(store.lift_ban(party, who, device(5)).await.is_err());
    }
    let elsewhere = store.lift_ban(party_id(2), device(2), device(5)).await;
    assert_eq!(refusal(elsewhere), Refusal::NotBanned);
    redeem(&store, 5, 2).await.unwrap();
    assert!(matches!(refusal(redeem(&store, 5, 7).await), Refusal::Banned { .. }));
}
