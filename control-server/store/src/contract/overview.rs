//! What the operator sees and does.

use lanrage_shared::ids::MemberId;
use lanrage_shared::stream::{Departure, PartyEvent};

use super::fixture::{NOW, founding, party_id, redeem};
use crate::{Refusal, Store, StoreError, Totals};

pub(super) async fn the_operator_sees_every_party_in_order(store: Store) {
    for n in 1..=3 {
        store.create_party(&founding(n, None)).await.unwrap();
    }
    redeem(&store, 9, 2).await.unwrap();
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.parties, totals.members), (3, 4));
    let first = store.parties_after(None, 2).await.unwrap();
    let rest = store.parties_after(Some(first[1].row.id), 2).await.unwrap();
    let ids: Vec<_> = first.iter().chain(&rest).map(|party| party.row.id).collect();
    assert_eq!(ids, [party_id(1), party_id(2), party_id(3)]);
    assert_eq!(first[1].members().count(), 2);
}

pub(super) async fn the_operator_removes_anybody_also_a_host(store: Store) {
    let created = store.create_party(&founding(1, None)).await.unwrap();
    let ben = redeem(&store, 2, 1).await.unwrap();
    let host = created.state.row.host;
    let changed = store.expel(party_id(1), host, NOW).await.unwrap();
    let how = changed.events.iter().find_map(|(_, event)| match event {
        PartyEvent::MemberLeft { member, how } => Some((*member, *how)),
        _ => None,
    });
    assert_eq!(how, Some((host, Departure::Kicked)));
    let state = store.any_party(party_id(1)).await.unwrap();
    assert_eq!((state.row.host, state.row.epoch), (ben.me, 2));
    let nobody = MemberId(250);
    let outcome = store.expel(party_id(1), nobody, NOW).await;
    assert!(
        matches!(outcome, Err(StoreError::Refused(Refusal::NoSuchMember(_)))),
        "{outcome:?}"
    );
    store.expel(party_id(1), ben.me, NOW).await.unwrap();
    assert_eq!(store.totals().await.unwrap(), Totals::default(), "nobody is left in it");
}
