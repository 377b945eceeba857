//! Who is in, under which number, and who is host.

use std::collections::BTreeSet;

use lanrage_shared::ids::MemberId;
use lanrage_shared::stream::PartyEvent;

use super::fixture::{
    NOW, at_once, device, device_key, founding, invite, lowest_free, party_id, redeem, redemption, replay, seen_by,
};
use super::invites::refusal;
use super::removal::remove;
use crate::{Absence, Bounds, Patch, Refusal, Removal, Store, StoreError};

pub(super) async fn no_two_members_share_a_number_when_all_join_at_once(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let joined = at_once(100, |n| {
        let store = store.clone();
        async move { redeem(&store, 1000 + n, 1).await.unwrap().me }
    })
    .await;
    assert_eq!(joined.into_iter().collect::<BTreeSet<_>>().len(), 100);
    let state = seen_by(&store, 1, 1).await;
    assert_eq!(state.members().count(), 101);
    let net = state.row.net();
    let addresses: BTreeSet<_> = state.members().map(|seat| net.member_v4(seat.number)).collect();
    assert_eq!(addresses.len(), 101);
}

pub(super) async fn a_device_that_comes_back_has_its_number(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let first = redeem(&store, 2, 1).await.unwrap().me;
    store.leave_party(party_id(1), device(2), NOW + 1).await.unwrap();
    let other = redeem(&store, 3, 1).await.unwrap().me;
    assert_ne!(other, first, "a number is kept for who left");
    assert_eq!(redeem(&store, 2, 1).await.unwrap().me, first);
}

pub(super) async fn a_number_can_pass_from_who_left_to_a_newcomer(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let number = redeem(&store, 2, 1).await.unwrap().me;
    store.leave_party(party_id(1), device(2), NOW + 1).await.unwrap();
    let newcomer = store
        .redeem_invite(&redemption(3, 1), &|_, _| Ok(number))
        .await
        .unwrap();
    assert_eq!(newcomer.me, number);
    let moved = redeem(&store, 2, 1).await.unwrap();
    assert_ne!(moved.me, number);
    // A device may also be given another number than the one kept for it.
    store.leave_party(party_id(1), device(2), NOW + 2).await.unwrap();
    let elsewhere = store
        .redeem_invite(&redemption(2, 1), &|_, _| Ok(MemberId(200)))
        .await
        .unwrap();
    assert_eq!(elsewhere.me, MemberId(200));
    assert_eq!(seen_by(&store, 2, 1).await.seats.len(), 3);
}

pub(super) async fn the_longest_present_member_succeeds_the_host(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let second = redeem(&store, 2, 1).await.unwrap().me;
    redeem(&store, 3, 1).await.unwrap();
    let changed = store.leave_party(party_id(1), device(1), NOW + 9).await.unwrap();
    let [
        (_, PartyEvent::MemberLeft { member, .. }),
        (_, PartyEvent::Updated { party }),
    ] = changed.events.as_slice()
    else {
        panic!("something else happened: {changed:?}");
    };
    assert_eq!((*member, party.host), (MemberId(100), second));
    let state = seen_by(&store, 2, 1).await;
    assert_eq!(state.row.host, second);
    assert_eq!(state.row.version, party.version);
    let again = store.leave_party(party_id(1), device(1), NOW + 9).await;
    assert!(matches!(again, Err(StoreError::NotAMember)));
    let stranger = store.leave_party(party_id(1), device(9), NOW + 9).await;
    let nowhere = store.leave_party(party_id(9), device(9), NOW + 9).await;
    assert!(matches!(
        (stranger, nowhere),
        (Err(StoreError::NotFound), Err(StoreError::NotFound))
    ));
}

pub(super) async fn the_last_to_leave_ends_a_party_unless_it_is_persistent(store: Store) {
    let mut kept = founding(2, None);
    kept.party.persistent = true;
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&kept).await.unwrap();
    let changed = store.leave_party(party_id(1), device(1), NOW).await.unwrap();
    assert_eq!(changed.events, [(1, PartyEvent::Deleted)]);
    assert!(matches!(replay(&store, 1, None).await, Err(StoreError::NotFound)));
    let outcome = redeem(&store, 5, 1).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Refused(Refusal::InviteUnknown))));
    store.leave_party(party_id(2), device(2), NOW).await.unwrap();
    assert!(replay(&store, 2, None).await.is_ok());
    let heir = redeem(&store, 5, 2).await.unwrap();
    assert_eq!(heir.state.row.host, heir.me, "who finds a party empty is its host");
}

pub(super) async fn a_device_sees_its_own_parties_only(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    store.create_party(&founding(2, None)).await.unwrap();
    redeem(&store, 3, 1).await.unwrap();
    redeem(&store, 3, 2).await.unwrap();
    assert_eq!(store.parties_of(device(3)).await.unwrap().len(), 2);
    assert_eq!(store.parties_of(device(1)).await.unwrap().len(), 1);
    let other = store.party(party_id(2), device(1)).await;
    assert!(matches!(other, Err(StoreError::NotFound)));
    store.leave_party(party_id(1), device(3), NOW).await.unwrap();
    assert_eq!(store.parties_of(device(3)).await.unwrap().len(), 1);
    assert!(store.party(party_id(1), device(3)).await.is_err());
}

pub(super) async fn a_device_can_be_in_so_many_parties(store: Store) {
    let most = u32::try_from(Bounds::default().parties_per_device).unwrap();
    for n in 1..=most + 1 {
        store.create_party(&founding(n, None)).await.unwrap();
    }
    for n in 1..=most {
        redeem(&store, 1000, n).await.unwrap();
    }
    let outcome = redeem(&store, 1000, most + 1).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Refused(Refusal::TooManyParties))));
}

pub(super) async fn a_device_that_asks_for_many_parties_at_once_gets_as_many_as_it_may(store: Store) {
    for n in 201..=220 {
        store.create_party(&founding(n, None)).await.unwrap();
    }
    let store = store.bounded_by(Bounds {
        parties_per_device: 3,
        ..Bounds::default()
    });
    let outcomes = at_once(60, |n| {
        let store = store.clone();
        async move {
            if n % 3 == 0 {
                return redeem(&store, 1, 201 + n / 3).await.map(drop);
            }
            let mut one = founding(n + 1, None);
            one.host.device = device(1);
            store.create_party(&one).await.map(drop)
        }
    })
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 3);
    for outcome in refused {
        assert_eq!(refusal(outcome), Refusal::TooManyParties);
    }
}

pub(super) async fn a_key_belongs_to_one_device_of_a_party(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    redeem(&store, 2, 1).await.unwrap();
    let refused = async |who, key| {
        let mut with_key = redemption(who, 1);
        with_key.device_key = device_key(key);
        let outcome = store.redeem_invite(&with_key, &|_, _| Ok(MemberId(9))).await.map(drop);
        assert!(
            matches!(outcome, Err(StoreError::Refused(Refusal::KeyTaken))),
            "{outcome:?}"
        );
    };
    refused(3, 1).await;
    refused(3, 2).await;
    // Nor as one who is in already.
    redeem(&store, 3, 1).await.unwrap();
    refused(3, 2).await;
    let keys: BTreeSet<_> = seen_by(&store, 1, 1)
        .await
        .members()
        .map(|seat| seat.device_key.0)
        .collect();
    assert_eq!(keys.len(), 3);
}

pub(super) async fn who_is_no_longer_a_member_keeps_nobody_from_its_key(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let more = invite(7, None);
    store.create_invite(party_id(1), device(1), &more, NOW).await.unwrap();
    let ben_with = async |who, n| {
        let mut with_key = redemption(who, n);
        with_key.device_key = device_key(2);
        let admit = |party: &_, seats: &[_]| lowest_free(party, seats, device(who));
        store.redeem_invite(&with_key, &admit).await
    };
    // A stranger comes first, with the key that is Ben's.
    for (squatter, ban) in [(50, false), (51, true)] {
        let member = ben_with(squatter, 1).await.unwrap().me;
        assert_eq!(refusal(ben_with(2, 7).await), Refusal::KeyTaken);
        remove(&store, Removal { member, ban }).await.unwrap();
        ben_with(2, 7).await.unwrap();
        store.leave_party(party_id(1), device(2), NOW).await.unwrap();
    }
}

pub(super) async fn one_of_two_devices_that_bring_one_key_at_once_gets_in(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let outcomes = at_once(30, |n| {
        let store = store.clone();
        async move {
            let mut with_key = redemption(1000 + n, 1);
            with_key.device_key = device_key(7);
            let admit = |party: &_, seats: &[_]| lowest_free(party, seats, device(1000 + n));
            store.redeem_invite(&with_key, &admit).await.is_ok()
        }
    })
    .await;
    assert_eq!(outcomes.into_iter().filter(|admitted| *admitted).count(), 1);
}

pub(super) async fn a_name_belongs_to_one_member_at_a_time(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let called = async |who, name: &str| {
        let mut named = redemption(who, 1);
        named.name = name.parse().unwrap();
        let admit = |party: &_, seats: &[_]| lowest_free(party, seats, device(who));
        let redeemed = store.redeem_invite(&named, &admit).await.unwrap();
        let name = redeemed.state.member_of(device(who)).unwrap().name.to_string();
        (name, redeemed.changed.events.len())
    };
    assert_eq!(called(2, "Ben").await, ("Ben".to_owned(), 2));
    assert_eq!(called(3, "bEN").await, ("bEN 2".to_owned(), 2));
    assert_eq!(called(4, "Ben").await, ("Ben 3".to_owned(), 2));
    assert_eq!(
        called(3, "bEN").await,
        ("bEN 2".to_owned(), 0),
        "it asks again for what it has"
    );
    assert_eq!(
        called(2, "Anna").await,
        ("Anna 2".to_owned(), 2),
        "also of who is in already"
    );
    assert_eq!(called(2, "Ben").await, ("Ben".to_owned(), 2));
    store.leave_party(party_id(1), device(2), NOW + 1).await.unwrap();
    assert_eq!(called(5, "Ben").await, ("Ben".to_owned(), 2), "who left has no name");
}

pub(super) async fn all_who_ask_for_one_name_at_once_get_names_of_their_own(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    at_once(40, |n| {
        let store = store.clone();
        async move { redeem(&store, 1000 + n, 1).await.map(drop).unwrap() }
    })
    .await;
    let state = seen_by(&store, 1, 1).await;
    let names: BTreeSet<_> = state.members().map(|seat| seat.name.as_str().to_lowercase()).collect();
    assert_eq!(names.len(), 41);
}

pub(super) async fn a_host_hands_the_party_to_another_member(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let ben = redeem(&store, 2, 1).await.unwrap();
    let version = ben.state.row.version;
    let hand_to = async |who, version, host| {
        let patch = Patch {
            host: Some(host),
            ..Patch::default()
        };
        store.update_party(party_id(1), device(who), version, &patch, NOW).await
    };
    let outcome = hand_to(2, version, ben.me).await;
    assert!(matches!(outcome, Err(StoreError::NotHost { .. })), "{outcome:?}");
    let nobody = hand_to(1, version, MemberId(254)).await;
    let is_refused = matches!(&nobody, Err(StoreError::Refused(Refusal::NoSuchMember(MemberId(254)))));
    assert!(is_refused, "{nobody:?}");
    let (state, changed) = hand_to(1, version, ben.me).await.unwrap();
    assert_eq!((state.row.host, state.row.version), (ben.me, version + 1));
    let [(_, PartyEvent::Updated { party })] = changed.events.as_slice() else {
        panic!("something else happened: {changed:?}");
    };
    assert_eq!((party.host, party.version), (ben.me, version + 1));
    let outcome = hand_to(1, version + 1, MemberId(100)).await;
    assert!(matches!(outcome, Err(StoreError::NotHost { .. })), "{outcome:?}");
}

pub(super) async fn a_host_that_is_gone_is_succeeded_by_the_longest_present_who_is_there(store: Store) {
    let party = party_id(1);
    store.create_party(&founding(1, None)).await.unwrap();
    let mut members = Vec::new();
    for who in [2, 3, 4] {
        members.push(redeem(&store, who, 1).await.unwrap().me);
    }
    let absence = Absence {
        gone_ms: NOW + 10_000,
        present_ms: NOW + 20_000,
    };
    assert!(store.without_host(absence).await.unwrap().is_empty(), "nobody is there");
    let there: Vec<_> = members[1..]
        .iter()
        .map(|member| (party, *member, NOW + 20_000))
        .collect();
    store.save_soft(&[], &there).await.unwrap();
    assert_eq!(store.without_host(absence).await.unwrap(), [(party, MemberId(100))]);
    let changed = store.succeed_host(party, absence, NOW + 20_000).await.unwrap().unwrap();
    let [(_, PartyEvent::Updated { party: settings })] = changed.events.as_slice() else {
        panic!("something else happened: {changed:?}");
    };
    assert_eq!(settings.host, members[1], "not who is away, though it came first");
    let state = seen_by(&store, 3, 1).await;
    assert_eq!((state.row.host, state.row.version), (members[1], settings.version));
    assert_eq!(state.members().count(), 4, "the former host is a member as before");
    assert!(store.without_host(absence).await.unwrap().is_empty());
    assert_eq!(store.succeed_host(party, absence, NOW).await.unwrap(), None);
    assert_eq!(store.succeed_host(party_id(9), absence, NOW).await.unwrap(), None);
}
