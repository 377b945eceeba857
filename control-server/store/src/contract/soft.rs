//! Soft writes, and who is there.

use lanrage_shared::hlc::{ReplicaId, Stamp};
use lanrage_shared::ids::{MemberId, Pin};
use lanrage_shared::lww::{LwwMap, Write};

use super::fixture::{NOW, founding, party_id, redeem};
use crate::{LEASE_MS, ReplicaRow, SoftKey, SoftWrite, Store};

fn write(replica: u64, member: u16, time: u64, value: &str) -> SoftWrite {
    let stamp = |replica, time| Stamp {
        time,
        replica: ReplicaId(replica),
    };
    SoftWrite {
        key: SoftKey::Member(party_id(1), MemberId(member)),
        stamp: stamp(replica, time),
        seen: (time > 1).then(|| stamp(replica + 1, time - 1)),
        gone: value.is_empty(),
        value: value.into(),
    }
}

fn replica(id: u64, name: &str, pin: u8) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        name: name.into(),
        pin: Pin([pin; 32]),
    }
}

pub(super) async fn each_replica_keeps_its_last_write_to_a_key(store: Store) {
    let relay = SoftWrite {
        key: SoftKey::Relay("fra-1".parse().unwrap()),
        ..write(1, 1, 9, "relay")
    };
    let first = [
        write(1, 1, 5, "a"),
        write(2, 1, 6, "b"),
        write(1, 2, 7, "c"),
        relay.clone(),
    ];
    assert_eq!(store.save_soft(&first, &[]).await.unwrap(), 4);
    let again = [write(1, 1, 8, "d\u{1F3AE} \"'"), write(2, 1, 4, "late")];
    assert_eq!(
        store.save_soft(&again, &[]).await.unwrap(),
        1,
        "the late one changes nothing"
    );
    let mut kept = store.soft_writes_of(party_id(1)).await.unwrap();
    kept.sort_by_key(|write| write.stamp);
    assert_eq!(kept, [write(2, 1, 6, "b"), write(1, 2, 7, "c"), again[0].clone()]);
    assert_eq!(store.soft_writes_of_relays().await.unwrap(), [relay]);
}

pub(super) async fn marks_say_what_was_read_of_each_replica(store: Store) {
    let all = [
        write(1, 1, 5, "a"),
        write(2, 1, 3, "b"),
        write(2, 2, 4, "c"),
        write(3, 3, 9, "d"),
    ];
    store.save_soft(&all, &[]).await.unwrap();
    let marks = [(ReplicaId(1), 5), (ReplicaId(2), 3)];
    assert_eq!(store.soft_writes_after(&marks).await.unwrap(), [write(2, 2, 4, "c")]);
    let mut from_nothing = store
        .soft_writes_after(&[(ReplicaId(1), 0), (ReplicaId(2), 0)])
        .await
        .unwrap();
    from_nothing.sort_by_key(|write| write.stamp);
    assert_eq!(
        from_nothing,
        [write(2, 1, 3, "b"), write(2, 2, 4, "c"), write(1, 1, 5, "a")]
    );
    assert!(store.soft_writes_after(&[]).await.unwrap().is_empty());
}

pub(super) async fn the_kept_writes_give_the_same_map_in_any_order(store: Store) {
    let mut live = LwwMap::<SoftKey, String>::default();
    for time in 1..200_u64 {
        let one = write(time % 3, u16::try_from(time % 7).unwrap(), time, &time.to_string());
        store.save_soft(std::slice::from_ref(&one), &[]).await.unwrap();
        live.merge(one.key.clone(), merged(&one));
    }
    let kept = store.soft_writes_of(party_id(1)).await.unwrap();
    let (mut forwards, mut backwards) = (LwwMap::default(), LwwMap::default());
    kept.iter()
        .for_each(|one| drop(forwards.merge(one.key.clone(), merged(one))));
    kept.iter()
        .rev()
        .for_each(|one| drop(backwards.merge(one.key.clone(), merged(one))));
    let held = |map: &LwwMap<SoftKey, String>| map.iter().map(|(key, write)| (key.clone(), write.clone())).collect();
    let live: Vec<_> = held(&live);
    assert_eq!(live, held(&forwards));
    assert_eq!(live, held(&backwards));
}

fn merged(write: &SoftWrite) -> Write<String> {
    Write {
        value: write.value.clone(),
        stamp: write.stamp,
        seen: write.seen,
    }
}

pub(super) async fn what_nobody_says_any_more_is_dropped(store: Store) {
    store.beat(&replica(1, "one", 1)).await.unwrap();
    let all = [
        write(1, 1, 5, "kept"),
        write(1, 2, 3, ""),
        write(1, 3, 9, ""),
        write(2, 4, 9, "of nobody"),
    ];
    store.save_soft(&all, &[]).await.unwrap();
    store.forget_soft_writes(9).await.unwrap();
    let mut kept = store.soft_writes_of(party_id(1)).await.unwrap();
    kept.sort_by_key(|write| write.stamp);
    assert_eq!(kept, [write(1, 1, 5, "kept"), write(1, 3, 9, "")]);
}

pub(super) async fn replicas_know_one_another_and_agree_on_the_key(store: Store) {
    let (one, two) = (replica(1, "one", 1), replica(2, "two", 1));
    assert_eq!(store.join(&one).await.unwrap(), None);
    assert_eq!(store.join(&two).await.unwrap(), None);
    assert_eq!(store.beat(&one).await.unwrap(), [one.clone(), two.clone()]);
    let stranger = replica(3, "three", 9);
    assert_eq!(store.join(&stranger).await.unwrap(), Some(one.clone()));
    let restarted = replica(4, "two", 1);
    assert_eq!(store.join(&restarted).await.unwrap(), None);
    assert_eq!(store.beat(&one).await.unwrap(), [one.clone(), restarted.clone()]);
    store.part(&one).await.unwrap();
    assert_eq!(store.beat(&restarted).await.unwrap(), [restarted]);
    const { assert!(LEASE_MS >= 5000) };
}

pub(super) async fn numbers_and_events_are_read_as_others_wrote_them(store: Store) {
    store.create_party(&founding(1, None)).await.unwrap();
    let changed = redeem(&store, 2, 1).await.unwrap().changed;
    let (last, _) = changed.events[changed.events.len() - 1];
    let asked = [party_id(1), party_id(9)];
    assert_eq!(store.last_numbers(&asked).await.unwrap(), [(party_id(1), last)]);
    let events = store
        .events_after(party_id(1), last - changed.events.len() as u64)
        .await
        .unwrap();
    assert_eq!(events, Some(changed.events));
    assert_eq!(store.events_after(party_id(9), 0).await.unwrap(), None);
    assert_eq!(
        store
            .save_soft(&[], &[(party_id(1), MemberId(100), NOW + 5)])
            .await
            .unwrap(),
        1
    );
}
