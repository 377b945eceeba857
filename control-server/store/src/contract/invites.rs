//! Who gets in.

use uuid::Uuid;

use super::fixture::{NOW, at_once, device, founding, invite, party_id, redeem, redemption, seen_by};
use crate::{Bounds, Patch, Refusal, Result, Store, StoreError};

pub(super) fn refusal<T>(outcome: Result<T>) -> Refusal {
    match outcome {
        Err(StoreError::Refused(refusal)) => refusal,
        Err(error) => panic!("failed otherwise: {error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

pub(super) async fn a_one_use_invite_admits_exactly_one_of_two_hundred(store: Store) {
    store.create_party(&founding(1, Some(1))).await.unwrap();
    let outcomes = at_once(200, |n| {
        let store = store.clone();
        async move { redeem(&store, 1000 + n, 1).await.map(drop) }
    })
    .await;
    let (admitted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(admitted.len(), 1);
    for outcome in refused {
        assert_eq!(refusal(outcome), Refusal::InviteUsed);
    }
    assert_eq!(seen_by(&store, 1, 1).await.members().count(), 2);
}

pub(super) async fn an_invite_with_three_uses_admits_three(store: Store) {
    store.create_party(&founding(1, Some(3))).await.unwrap();
    let outcomes = at_once(20, |n| {
        let store = store.clone();
        async move { redeem(&store, 1000 + n, 1).await.is_ok() }
    })
    .await;
    assert_eq!(outcomes.into_iter().filter(|admitted| *admitted).count(), 3);
}

pub(super) async fn refusals_are_told_apart(store: Store) {
    store.create_party(&founding(1, Some(1))).await.unwrap();
    assert_eq!(refusal(redeem(&store, 2, 99).await), Refusal::InviteUnknown);
    let mut late = redemption(2, 1);
    late.now_ms = NOW + 1000;
    let outcome = store.redeem_invite(&late, &|_, _| panic!("it is too late")).await;
    assert_eq!(refusal(outcome), Refusal::InviteExpired);
    redeem(&store, 2, 1).await.unwrap();
    assert_eq!(refusal(redeem(&store, 3, 1).await), Refusal::InviteUsed);
}

pub(super) async fn a_refused_device_does_not_use_the_invite_up(store: Store) {
    store.create_party(&founding(1, Some(1))).await.unwrap();
    let refused = Refusal::TooManyInvites;
    let outcome = store
        .redeem_invite(&redemption(2, 1), &|_, _| Err(refused.clone()))
        .await;
    assert_eq!(refusal(outcome), refused);
    assert_eq!(seen_by(&store, 1, 1).await.row.version, 1);
    redeem(&store, 3, 1).await.unwrap();
}

pub(super) async fn a_member_redeems_again_without_using_the_invite_up(store: Store) {
    store.create_party(&founding(1, Some(2))).await.unwrap();
    let first = redeem(&store, 2, 1).await.unwrap();
    let again = redeem(&store, 2, 1).await.unwrap();
    assert_eq!((again.me, again.state.row.seq), (first.me, first.state.row.seq));
    assert!(again.changed.events.is_empty());
    assert_eq!(again.sealed_secret, first.sealed_secret);
    let mut renamed = redemption(2, 1);
    renamed.name = "Benjamin".parse().unwrap();
    let renamed = store
        .redeem_invite(&renamed, &|_, _| panic!("it is a member"))
        .await
        .unwrap();
    assert_eq!(renamed.me, first.me);
    assert_eq!(renamed.changed.events.len(), 2);
    assert_eq!(
        seen_by(&store, 2, 1).await.member_of(device(2)).unwrap().name.as_str(),
        "Benjamin"
    );
    redeem(&store, 3, 1).await.unwrap();
    assert_eq!(refusal(redeem(&store, 4, 1).await), Refusal::InviteUsed);
}

pub(super) async fn only_the_host_makes_invites(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    redeem(&store, 2, 1).await.unwrap();
    let outcome = store.create_invite(party_id(1), device(2), &invite(7, None), NOW).await;
    let Err(StoreError::NotHost { host: Some(host) }) = outcome else {
        panic!("a guest made an invite: {outcome:?}");
    };
    assert_eq!(host.as_str(), "Anna");
    let outcome = store.create_invite(party_id(1), device(9), &invite(7, None), NOW).await;
    assert!(matches!(outcome, Err(StoreError::NotFound)));
    store
        .create_invite(party_id(1), device(1), &invite(7, None), NOW)
        .await
        .unwrap();
    redeem(&store, 3, 7).await.unwrap();
}

pub(super) async fn an_invite_cannot_be_registered_twice(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let mut twin = invite(2, None);
    twin.auth_hash = invite(1, None).auth_hash;
    twin.sealed_secret = vec![9];
    let outcome = store.create_invite(party_id(1), device(1), &twin, NOW).await;
    assert_eq!(refusal(outcome), Refusal::InviteExists);
}

pub(super) async fn what_is_repeated_after_a_lost_answer_is_done_once(store: Store) {
    let first = store.create_party(&founding(1, Some(2))).await.unwrap();
    let mut again = founding(1, Some(2));
    again.party.id = party_id(100);
    again.party.created_at_ms = NOW + 5000;
    again.invite.id = Uuid::from_u128(100);
    let second = store.create_party(&again).await.unwrap();
    assert_eq!((second.state, second.invite), (first.state, first.invite));
    assert_eq!(store.parties_of(device(1)).await.unwrap().len(), 1);

    let mut more = invite(7, Some(1));
    let first = store.create_invite(party_id(1), device(1), &more, NOW).await.unwrap();
    more.id = Uuid::from_u128(101);
    let second = store
        .create_invite(party_id(1), device(1), &more, NOW + 5)
        .await
        .unwrap();
    assert_eq!(second, first);

    let first = redeem(&store, 2, 7).await.unwrap();
    let second = redeem(&store, 2, 7).await.unwrap();
    assert_eq!((second.me, second.state), (first.me, first.state));

    // By somebody else, or once the party has changed, it is not the same.
    let mut others = founding(3, Some(2));
    others.invite = invite(1, Some(2));
    assert_eq!(refusal(store.create_party(&others).await), Refusal::InviteExists);
    assert_eq!(refusal(store.create_party(&again).await), Refusal::InviteExists);
}

pub(super) async fn the_last_invite_there_may_be_is_repeated_like_any_other(store: Store) {
    let store = store.bounded_by(Bounds {
        invites_per_party: 2,
        ..Bounds::default()
    });
    let (party, host) = (party_id(1), device(1));
    store.create_party(&founding(1, None)).await.unwrap();
    let last = invite(7, None);
    let first = store.create_invite(party, host, &last, NOW).await.unwrap();
    assert_eq!(store.create_invite(party, host, &last, NOW).await.unwrap(), first);
    let another = store.create_invite(party, host, &invite(8, None), NOW).await;
    assert_eq!(refusal(another), Refusal::TooManyInvites);
}

pub(super) async fn the_host_sees_and_ends_the_invites_that_still_admit(store: Store) {
    let (party, host) = (party_id(1), device(1));
    store.create_party(&founding(1, Some(1))).await.unwrap();
    store.create_party(&founding(2, None)).await.unwrap();
    for n in [7, 8] {
        store.create_invite(party, host, &invite(n, None), NOW).await.unwrap();
    }
    redeem(&store, 3, 1).await.unwrap();
    let listed = async |now_ms| -> Vec<u128> {
        let invites = store.invites(party, host, now_ms).await.unwrap();
        invites.iter().map(|invite| invite.id.as_u128()).collect()
    };
    assert_eq!(listed(NOW).await, [7, 8], "not the one that is used up");
    assert!(listed(NOW + 1000).await.is_empty(), "they have expired");

    let guest = store.invites(party, device(3), NOW).await;
    assert!(matches!(guest, Err(StoreError::NotHost { .. })), "{guest:?}");
    let id = Uuid::from_u128(7);
    let guest = store.revoke_invite(party, device(3), id).await;
    assert!(matches!(guest, Err(StoreError::NotHost { .. })), "{guest:?}");
    let elsewhere = store.revoke_invite(party_id(2), device(2), id).await;
    assert_eq!(refusal(elsewhere), Refusal::NoSuchInvite);
    store.revoke_invite(party, host, id).await.unwrap();
    assert_eq!(listed(NOW).await, [8]);
    assert_eq!(
        refusal(store.revoke_invite(party, host, id).await),
        Refusal::NoSuchInvite
    );
    assert_eq!(refusal(redeem(&store, 4, 7).await), Refusal::InviteUnknown);
    redeem(&store, 4, 8).await.unwrap();
}

pub(super) async fn invites_that_expire_at_once_are_not_piled_up(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let store = store.bounded_by(Bounds {
        invites_per_party: 3,
        ..Bounds::default()
    });
    for n in 10..20 {
        let at_ms = NOW + u64::from(n);
        let mut brief = invite(n, None);
        brief.expires_at_ms = at_ms + 1;
        store
            .create_invite(party_id(1), device(1), &brief, at_ms)
            .await
            .unwrap();
    }
    let mut shown = Vec::new();
    for n in 10..20 {
        let mut late = redemption(2, n);
        late.now_ms = NOW + 100;
        shown.push(refusal(
            store.redeem_invite(&late, &|_, _| panic!("it is too late")).await,
        ));
    }
    let known = shown.iter().filter(|refusal| **refusal == Refusal::InviteExpired);
    // Three that had expired, and the last one.
    assert_eq!(known.count(), 4, "{shown:?}");
    assert_eq!(shown[9], Refusal::InviteExpired);
    redeem(&store, 2, 1).await.unwrap();
}

pub(super) async fn a_locked_party_admits_members_only(store: Store) {
    let (party, host) = (party_id(1), device(1));
    store.create_party(&founding(1, Some(2))).await.unwrap();
    let ben = redeem(&store, 2, 1).await.unwrap();
    let lock = async |version, locked| {
        let patch = Patch {
            locked: Some(locked),
            ..Patch::default()
        };
        store.update_party(party, host, version, &patch, NOW).await.unwrap().0
    };
    let locked = lock(ben.state.row.version, true).await;
    assert!(seen_by(&store, 2, 1).await.row.locked);
    let name = locked.row.name.clone();
    assert_eq!(refusal(redeem(&store, 3, 1).await), Refusal::Locked { party: name });
    assert_eq!(
        redeem(&store, 2, 1).await.unwrap().me,
        ben.me,
        "who is a member is let in"
    );
    lock(locked.row.version, false).await;
    redeem(&store, 3, 1).await.unwrap();
}
