//! Versions and numbers.

use lanrage_shared::addr::PartyNet;
use lanrage_shared::stream::PartyEvent;

use super::fixture::{NOW, at_once, device, founding, party_id, redeem, replay, seen_by};
use crate::{EVENTS_KEPT, PartyRow, Patch, Replay, Store, StoreError};

fn rename(name: &str) -> Patch {
    Patch {
        name: Some(name.parse().unwrap()),
        ..Patch::default()
    }
}

pub(super) async fn a_change_meant_for_another_version_is_refused(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let (state, changed) = store
        .update_party(party_id(1), device(1), 1, &rename("Saturday"), NOW)
        .await
        .unwrap();
    assert_eq!((state.row.version, changed.events.len()), (2, 1));
    let outcome = store
        .update_party(party_id(1), device(1), 1, &rename("Sunday"), NOW)
        .await;
    assert!(matches!(outcome, Err(StoreError::Conflict { current_version: 2 })));
    let state = seen_by(&store, 1, 1).await;
    assert_eq!((state.row.name.as_str(), state.row.seq), ("Saturday", 1));
}

pub(super) async fn of_concurrent_changes_to_one_version_one_wins(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let outcomes = at_once(20, |n| {
        let store = store.clone();
        async move {
            let patch = rename(&format!("name {n}"));
            store
                .update_party(party_id(1), device(1), 1, &patch, NOW)
                .await
                .map(drop)
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert!(matches!(outcome, Err(StoreError::Conflict { current_version: 2 })));
    }
}

pub(super) async fn only_the_host_changes_settings_and_ends_the_party(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    redeem(&store, 2, 1).await.unwrap();
    let outcome = store
        .update_party(party_id(1), device(2), 2, &rename("Mine"), NOW)
        .await;
    assert!(matches!(outcome, Err(StoreError::NotHost { .. })));
    let outcome = store.delete_party(party_id(1), device(2), None, NOW).await;
    assert!(matches!(outcome, Err(StoreError::NotHost { .. })));
    let outcome = store.delete_party(party_id(1), device(9), None, NOW).await;
    assert!(matches!(outcome, Err(StoreError::NotFound)));
    let last = seen_by(&store, 1, 1).await.row.seq;
    let outcome = store.delete_party(party_id(1), device(1), Some(7), NOW).await;
    assert!(
        matches!(outcome, Err(StoreError::Conflict { current_version: 2 })),
        "{outcome:?}"
    );
    let changed = store.delete_party(party_id(1), device(1), Some(2), NOW).await.unwrap();
    assert_eq!(changed.events, [(last + 1, PartyEvent::Deleted)]);
    assert!(store.parties_of(device(2)).await.unwrap().is_empty());
}

pub(super) async fn a_move_to_another_network_reaches_everybody_and_stays(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    redeem(&store, 2, 1).await.unwrap();
    let version = seen_by(&store, 1, 1).await.row.version;
    let other = |row: &PartyRow| row.net_index + 1;
    let by_guest = store.move_party(party_id(1), device(2), version, &other, NOW).await;
    assert!(matches!(by_guest, Err(StoreError::NotHost { .. })));
    let late = store.move_party(party_id(1), device(1), version - 1, &other, NOW).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));

    let (state, changed) = store
        .move_party(party_id(1), device(1), version, &other, NOW)
        .await
        .unwrap();
    let [(seq, PartyEvent::Updated { party })] = changed.events.as_slice() else {
        panic!("something else happened: {changed:?}");
    };
    let net = PartyNet::at(6, party_id(1));
    assert_eq!(
        (party.net, party.version, *seq),
        (Some(net), version + 1, state.row.seq)
    );
    let kept = seen_by(&store, 2, 1).await;
    assert_eq!((kept.row.net(), kept.row.version), (net, version + 1));
    assert!(
        kept.party()
            .members
            .iter()
            .all(|member| member.virtual_ip == net.member_v4(member.id))
    );
    let (_, replay) = replay(&store, 1, Some(seq - 1)).await.unwrap();
    assert!(matches!(replay, Replay::Events(events) if events == changed.events));
}

pub(super) async fn numbers_have_no_gaps_under_concurrency(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let told = at_once(30, |n| {
        let store = store.clone();
        async move {
            let mut events = redeem(&store, 1000 + n, 1).await.unwrap().changed.events;
            if n % 2 == 0 {
                let left = store.leave_party(party_id(1), device(1000 + n), NOW + 2).await.unwrap();
                events.extend(left.events);
            }
            events
        }
    })
    .await;
    let mut told: Vec<_> = told.into_iter().flatten().collect();
    told.sort_by_key(|(seq, _)| *seq);
    let (last, told_again) = replay(&store, 1, Some(0)).await.unwrap();
    let Replay::Events(logged) = told_again else {
        panic!("the log is incomplete");
    };
    assert_eq!(logged, told, "the log and the feed tell the same");
    let numbers: Vec<u64> = logged.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
}

pub(super) async fn a_gap_is_replayed_and_a_long_one_becomes_a_snapshot(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    for version in 1..=EVENTS_KEPT + 5 {
        let patch = rename(&format!("name {version}"));
        store
            .update_party(party_id(1), device(1), version, &patch, NOW)
            .await
            .unwrap();
    }
    let last = EVENTS_KEPT + 5;
    let missed = async |since| replay(&store, 1, since).await.unwrap().1;
    assert_eq!(missed(Some(last)).await, Replay::Events(Vec::new()));
    let Replay::Events(events) = missed(Some(5)).await else {
        panic!("the log should reach so far");
    };
    assert_eq!(events.len() as u64, EVENTS_KEPT);
    assert_eq!(events[0].0, 6);
    assert_eq!(missed(Some(4)).await, Replay::Snapshot);
    assert_eq!(missed(None).await, Replay::Snapshot);
    assert_eq!(missed(Some(last + 1)).await, Replay::Snapshot);
}
