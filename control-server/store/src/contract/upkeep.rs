//! What is kept and what goes.

use lanrage_shared::ids::MemberId;

use super::fixture::{NOW, device, founding, party_id, redeem, replay, seen_by};
use crate::{Refusal, Store, StoreError};

pub(super) async fn secrets_are_drawn_once(store: Store) {
    store.ready().await.unwrap();
    assert_eq!(store.secret("a", b"first").await.unwrap(), b"first");
    assert_eq!(store.secret("a", b"second").await.unwrap(), b"first");
    assert_eq!(store.secret("b", b"second").await.unwrap(), b"second");
}

pub(super) async fn members_not_seen_are_found_and_removed(store: Store) {
    let mut kept = founding(2, None);
    kept.party.persistent = true;
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&kept).await.unwrap();
    let seen = redeem(&store, 3, 1).await.unwrap().me;
    redeem(&store, 4, 1).await.unwrap();
    let later = NOW + 10_000;
    for at in [later, NOW] {
        let both = [(party_id(1), seen, at), (party_id(1), MemberId(100), at)];
        assert_eq!(store.save_soft(&[], &both).await.unwrap(), 2);
    }
    assert_eq!(
        seen_by(&store, 3, 1).await.member_of(device(3)).unwrap().last_seen_ms,
        later
    );
    let unseen = store.unseen_since(later).await.unwrap();
    assert_eq!(unseen, [(party_id(1), device(4))], "not the host of a persistent party");
    let removed = store.remove_unseen(party_id(1), device(4), later, later).await.unwrap();
    assert_eq!(removed.unwrap().events.len(), 2);
    assert!(store.party(party_id(1), device(4)).await.is_err());
    let back = store.remove_unseen(party_id(1), device(3), later, later).await.unwrap();
    assert_eq!(back, None, "who was seen meanwhile stays");
}

pub(super) async fn expired_invites_and_empty_parties_are_cleared_away(store: Store) {
    let mut kept = founding(2, None);
    kept.party.persistent = true;
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&kept).await.unwrap();
    store.leave_party(party_id(2), device(2), NOW).await.unwrap();
    assert_eq!(store.delete_empty_parties().await.unwrap(), 0);
    assert!(replay(&store, 1, None).await.is_ok());
    assert!(replay(&store, 2, None).await.is_ok());
    assert_eq!(store.delete_invites_expired(NOW).await.unwrap(), 0);
    assert_eq!(store.delete_invites_expired(NOW + 1001).await.unwrap(), 2);
    let outcome = redeem(&store, 5, 1).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Refused(Refusal::InviteUnknown))));
}

pub(super) async fn parties_nobody_was_in_for_long_are_forgotten(store: Store) {
    for n in 1..=4 {
        let mut party = founding(n, None);
        party.party.persistent = true;
        store.create_party(&party).await.unwrap();
    }
    let before = NOW + 10_000;
    store
        .save_soft(&[], &[(party_id(2), MemberId(100), before)])
        .await
        .unwrap();
    store.leave_party(party_id(3), device(3), before).await.unwrap();
    store.leave_party(party_id(4), device(4), NOW).await.unwrap();
    assert_eq!(store.delete_forgotten_parties(NOW).await.unwrap(), 0);
    assert_eq!(store.delete_forgotten_parties(before).await.unwrap(), 2);
    for (party, kept) in [(1, false), (2, true), (3, true), (4, false)] {
        assert_eq!(replay(&store, party, None).await.is_ok(), kept, "{party}");
    }
}

pub(super) async fn a_long_time_without_upkeep_begins_the_watch_anew(store: Store) {
    const HOUR: u64 = 3_600_000;
    let mut now = NOW;
    for hours in [0, 1, 24, 24] {
        now += hours * HOUR;
        assert_eq!(store.watched_since(now).await.unwrap(), NOW, "at {now}");
    }
    let later = now + 25 * HOUR;
    assert_eq!(store.watched_since(later).await.unwrap(), later);
    assert_eq!(store.watched_since(later + HOUR).await.unwrap(), later);
    // The clock was wrong.
    assert_eq!(store.watched_since(NOW).await.unwrap(), NOW);
}
