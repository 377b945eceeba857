//! New party secrets.

use lanrage_shared::api::secret::{SealedSecret, SecretFor};
use lanrage_shared::ids::MemberId;
use lanrage_shared::stream::PartyEvent;

use super::fixture::{NOW, at_once, device, device_key, founding, hash, invite, party_id, redeem, seen_by};
use super::invites::refusal;
use super::removal::{kick, remove};
use crate::{Changed, NewInviteRow, NewSecretRow, PartyState, Refusal, Replay, Result, Store, StoreError};

/// The secret of `epoch` for these members; what is sealed says whom it is for.
fn secret(epoch: u32, to: &[MemberId]) -> NewSecretRow {
    let sealed = |to: &MemberId| SecretFor {
        to: *to,
        sealed: format!("epoch {epoch} for {to}"),
    };
    NewSecretRow {
        epoch,
        secrets: to.iter().map(sealed).collect(),
        invites: Vec::new(),
    }
}

/// Renews the secret of party 1 as its founder, whatever version it has.
async fn renew(store: &Store, new: &NewSecretRow) -> Result<(PartyState, Changed)> {
    let version = seen_by(store, 1, 1).await.row.version;
    store.renew_secret(party_id(1), device(1), version, new, NOW + 10).await
}

/// A party of device 1 with these guests, and one more who is kicked; epoch 2, with the secret of epoch 1.
async fn one_kicked(store: &Store, guests: &[u32]) -> Vec<MemberId> {
    store.create_party(&founding(1, None)).await.unwrap();
    let mut members = Vec::new();
    for guest in guests {
        members.push(redeem(store, *guest, 1).await.unwrap().me);
    }
    let kicked = redeem(store, 99, 1).await.unwrap().me;
    remove(store, kick(kicked)).await.unwrap();
    members
}

/// What device `who` of party 1 is told that knows this.
async fn told(store: &Store, who: u32, since: Option<u64>, secret_epoch: u32) -> (Replay, Vec<SealedSecret>) {
    let missed = store
        .replay(party_id(1), device(who), since, secret_epoch)
        .await
        .unwrap();
    (missed.replay, missed.secrets)
}

fn texts(secrets: &[SealedSecret]) -> Vec<&str> {
    secrets.iter().map(|secret| secret.sealed.as_str()).collect()
}

pub(super) async fn a_new_secret_reaches_each_member_alone(store: Store) {
    let members = one_kicked(&store, &[5, 6]).await;
    let before = seen_by(&store, 1, 1).await.row;
    let (state, changed) = renew(&store, &secret(2, &members)).await.unwrap();
    assert_eq!((state.row.epoch, state.row.secret_epoch), (2, 2));
    assert_eq!(state.row.version, before.version + 1);
    let [
        (_, PartyEvent::SecretChanged { epoch: 2, secrets }),
        (_, PartyEvent::Updated { party }),
    ] = changed.events.as_slice()
    else {
        panic!("something else happened: {changed:?}");
    };
    assert_eq!((secrets.len(), party.secret_epoch), (2, 2));
    assert_eq!((secrets[0].from, secrets[0].from_key), (MemberId(100), device_key(1)));
    for (who, own) in [(5, vec!["epoch 2 for 1"]), (6, vec!["epoch 2 for 2"]), (1, vec![])] {
        let (replay, secrets) = told(&store, who, Some(before.seq), 1).await;
        assert_eq!(texts(&secrets), own);
        let Replay::Events(events) = replay else {
            panic!("the log reaches so far");
        };
        let PartyEvent::SecretChanged { secrets: with_it, .. } = &events[0].1 else {
            panic!("first the secret changed: {events:?}");
        };
        assert_eq!(with_it, &secrets, "nobody else's");
    }
    let (_, nothing) = told(&store, 99, None, 0).await;
    assert!(nothing.is_empty(), "not to who was kicked");
}

pub(super) async fn a_secret_that_is_not_whole_or_of_another_epoch_is_refused(store: Store) {
    let members = one_kicked(&store, &[5, 6]).await;
    let (one, two) = (members[0], members[1]);
    let host = MemberId(100);
    for not_whole in [
        vec![],
        vec![one],
        vec![one, one],
        vec![one, two, two],
        vec![one, two, host],
        vec![one, MemberId(3)],
    ] {
        let outcome = renew(&store, &secret(2, &not_whole)).await;
        assert_eq!(refusal(outcome), Refusal::SecretsNotWhole, "{not_whole:?}");
    }
    for epoch in [0, 1, 3] {
        let outcome = renew(&store, &secret(epoch, &members)).await;
        assert_eq!(refusal(outcome), Refusal::OtherEpoch { epoch: 2 });
    }
    let version = seen_by(&store, 1, 1).await.row.version;
    let by = async |who, version| {
        let new = secret(2, &members);
        store.renew_secret(party_id(1), device(who), version, &new, NOW).await
    };
    assert!(matches!(by(5, version).await, Err(StoreError::NotHost { .. })));
    assert!(matches!(by(99, version).await, Err(StoreError::NotFound)));
    let outcome = by(1, version - 1).await;
    assert!(matches!(outcome, Err(StoreError::Conflict { current_version }) if current_version == version));
    renew(&store, &secret(2, &members)).await.unwrap();
    let again = renew(&store, &secret(2, &members)).await;
    assert_eq!(refusal(again), Refusal::SecretNotDue { epoch: 2 });
}

pub(super) async fn invites_that_are_not_sealed_anew_end(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    for n in [7, 8] {
        let invite = invite(n, None);
        store.create_invite(party_id(1), device(1), &invite, NOW).await.unwrap();
    }
    assert_eq!(redeem(&store, 5, 7).await.unwrap().sealed_secret, [1, 2, 3]);
    let mut new = secret(2, &members);
    // One of them is unknown to the server.
    new.invites = vec![(hash(7), vec![4, 5, 6]), (hash(70), vec![4, 5, 6])];
    renew(&store, &new).await.unwrap();
    assert_eq!(redeem(&store, 6, 7).await.unwrap().sealed_secret, [4, 5, 6]);
    for ended in [1, 8] {
        for who in [5, 9] {
            assert_eq!(refusal(redeem(&store, who, ended).await), Refusal::InviteEnded);
        }
    }
    // A new one leads to the new secret, and what has ended cannot be revived.
    store
        .create_invite(party_id(1), device(1), &invite(10, None), NOW)
        .await
        .unwrap();
    redeem(&store, 9, 10).await.unwrap();
    store.leave_party(party_id(1), device(9), NOW).await.unwrap();
    let six = seen_by(&store, 6, 1).await.member_of(device(6)).unwrap().number;
    let mut newer = secret(3, &[members[0], six]);
    newer.invites = vec![(hash(8), vec![7]), (hash(10), vec![7])];
    renew(&store, &newer).await.unwrap();
    assert_eq!(refusal(redeem(&store, 11, 8).await), Refusal::InviteEnded);
    assert_eq!(refusal(redeem(&store, 11, 7).await), Refusal::InviteEnded);
    assert_eq!(redeem(&store, 11, 10).await.unwrap().sealed_secret, [7]);
}

pub(super) async fn an_invite_sealed_with_another_secret_than_the_partys_is_refused(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    let sealed_with = |epoch| NewInviteRow {
        secret_epoch: Some(epoch),
        ..invite(6 + epoch, None)
    };
    let make = async |invite| store.create_invite(party_id(1), device(1), &invite, NOW).await;
    make(sealed_with(1)).await.unwrap();
    renew(&store, &secret(2, &members)).await.unwrap();
    let version = seen_by(&store, 1, 1).await.row.version;
    let mut late = sealed_with(1);
    late.auth_hash = hash(70);
    for other in [late, sealed_with(3)] {
        let outcome = make(other).await;
        let Err(StoreError::OtherSecret {
            current_version,
            current_secret_epoch: 2,
        }) = outcome
        else {
            panic!("it was taken for another one: {outcome:?}");
        };
        assert_eq!(current_version, version);
    }
    make(sealed_with(2)).await.unwrap();
    assert_eq!(refusal(redeem(&store, 9, 70).await), Refusal::InviteUnknown);
    redeem(&store, 9, 8).await.unwrap();
}

pub(super) async fn an_invite_of_another_party_is_not_touched(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    store.create_party(&founding(2, None)).await.unwrap();
    let mut new = secret(2, &members);
    new.invites = vec![(hash(2), vec![6, 6, 6])];
    renew(&store, &new).await.unwrap();
    assert_eq!(redeem(&store, 9, 2).await.unwrap().sealed_secret, [1, 2, 3]);
}

pub(super) async fn who_was_away_gets_every_secret_it_missed(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    let seq = seen_by(&store, 1, 1).await.row.seq;
    renew(&store, &secret(2, &members)).await.unwrap();
    let middle = seen_by(&store, 1, 1).await.row.seq;
    redeem(&store, 6, 1).await.map(drop).unwrap_err();
    store
        .create_invite(party_id(1), device(1), &invite(7, None), NOW)
        .await
        .unwrap();
    redeem(&store, 6, 7).await.unwrap();
    store.leave_party(party_id(1), device(6), NOW).await.unwrap();
    renew(&store, &secret(3, &members)).await.unwrap();
    let both = ["epoch 2 for 1", "epoch 3 for 1"];
    let (replay, secrets) = told(&store, 5, None, 1).await;
    assert_eq!((replay, texts(&secrets)), (Replay::Snapshot, both.to_vec()));
    assert!(matches!(told(&store, 5, Some(seq), 1).await.0, Replay::Events(_)));
    // It heard the first event, but lost the secret that came with it: the events alone would not help.
    assert_eq!(told(&store, 5, Some(middle), 1).await.0, Replay::Snapshot);
    assert!(matches!(told(&store, 5, Some(middle), 2).await.0, Replay::Events(_)));
    let missed = store.replay(party_id(1), device(5), None, 2).await.unwrap();
    assert!(missed.keeps_opened);
    assert_eq!(texts(&missed.secrets), both[1..]);
    store.drop_opened_secrets(party_id(1), members[0], 2).await.unwrap();
    let missed = store.replay(party_id(1), device(5), None, 0).await.unwrap();
    assert!(!missed.keeps_opened);
    assert_eq!(texts(&missed.secrets), both[1..]);
}

pub(super) async fn a_secret_goes_with_the_membership(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    let mut new = secret(2, &members);
    new.invites = vec![(hash(1), vec![4])];
    renew(&store, &new).await.unwrap();
    store.leave_party(party_id(1), device(5), NOW).await.unwrap();
    assert_eq!(redeem(&store, 5, 1).await.unwrap().me, members[0]);
    let (_, secrets) = told(&store, 5, None, 0).await;
    assert!(secrets.is_empty(), "the invite leads to the secret");
}

pub(super) async fn of_two_secrets_for_one_epoch_one_wins(store: Store) {
    let members = one_kicked(&store, &[5]).await;
    let version = seen_by(&store, 1, 1).await.row.version;
    let outcomes = at_once(10, |_| {
        let (store, new) = (store.clone(), secret(2, &members));
        async move {
            store
                .renew_secret(party_id(1), device(1), version, &new, NOW)
                .await
                .map(drop)
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}
