//! Who is connected and what they say about themselves. Soft state: kept in memory, told anew after every reconnect.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::{MemberId, PartyId};

use crate::feed::{Feed, FeedMessage, Seat};

/// The members that are connected. Publishes under its lock, so that a party hears changes in the order they happened: a
/// reconnect never looks like a disconnect.
pub struct Roster {
    feed: Arc<dyn Feed>,
    parties: Mutex<Parties>,
}

type Parties = HashMap<PartyId, BTreeMap<MemberId, Connected>>;

struct Connected {
    /// Of its stream's subscription.
    id: u64,
    presence: Option<Presence>,
}

impl Roster {
    /// Nobody is connected yet.
    pub fn new(feed: Arc<dyn Feed>) -> Self {
        Self {
            feed,
            parties: Mutex::default(),
        }
    }

    /// A stream opened. It takes the place of the member's former one.
    pub fn connect(&self, seat: Seat, id: u64) {
        let mut parties = self.lock();
        let connected = Connected { id, presence: None };
        parties.entry(seat.party).or_default().insert(seat.member, connected);
        self.publish(seat, true, None);
    }

    /// A connected member said something about itself.
    pub fn update(&self, seat: Seat, id: u64, presence: Presence) {
        let mut parties = self.lock();
        let current = parties
            .get_mut(&seat.party)
            .and_then(|party| party.get_mut(&seat.member));
        if let Some(current) = current.filter(|current| current.id == id) {
            current.presence = Some(presence.clone());
            self.publish(seat, true, Some(presence));
        }
    }

    /// A stream closed. Changes nothing when another has taken its place.
    pub fn disconnect(&self, seat: Seat, id: u64) {
        let mut parties = self.lock();
        let Some(party) = parties.get_mut(&seat.party) else {
            return;
        };
        if party.get(&seat.member).is_none_or(|current| current.id != id) {
            return;
        }
        party.remove(&seat.member);
        if party.is_empty() {
            parties.remove(&seat.party);
        }
        self.publish(seat, false, None);
    }

    /// The connected members of a party, with what they last said.
    pub fn online(&self, party: PartyId) -> BTreeMap<MemberId, Option<Presence>> {
        let parties = self.lock();
        let members = parties.get(&party).into_iter().flatten();
        members
            .map(|(member, connected)| (*member, connected.presence.clone()))
            .collect()
    }

    /// Everybody who is connected.
    pub fn everybody(&self) -> Vec<(PartyId, MemberId)> {
        let parties = self.lock();
        let all = parties.iter();
        all.flat_map(|(party, members)| members.keys().map(|member| (*party, *member)))
            .collect()
    }

    fn publish(&self, seat: Seat, online: bool, presence: Option<Presence>) {
        let member = seat.member;
        let message = FeedMessage::Presence {
            member,
            online,
            presence,
        };
        self.feed.publish(seat.party, &message);
    }

    fn lock(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::feed::MemoryFeed;

    #[test]
    fn the_end_of_a_superseded_stream_does_not_take_the_member_offline() {
        let roster = Roster::new(Arc::new(MemoryFeed::default()));
        let seat = Seat {
            party: PartyId(Uuid::nil()),
            member: MemberId(1),
        };
        roster.connect(seat, 1);
        roster.connect(seat, 2);
        roster.disconnect(seat, 1);
        assert_eq!(roster.everybody(), [(seat.party, seat.member)]);
        roster.disconnect(seat, 2);
        assert!(roster.everybody().is_empty());
    }
}
