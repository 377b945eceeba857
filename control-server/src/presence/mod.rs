//! Who is connected and what they say about themselves. Soft state: it holds in memory, is told to the party's streams, written
//! behind to the database, and merged with what other replicas write there ([`state`] says what holds). After a reconnect a
//! member tells it anew.

mod conflicts;
mod state;
mod write_behind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanrage_shared::api::conflict::SoftConflict;
use lanrage_shared::api::presence::Presence;
use lanrage_shared::hlc::{ReplicaId, time_at};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::lww::Write;
use lanrage_store::{News, SoftKey, SoftWrite};
use tokio::sync::mpsc;

use self::conflicts::Conflicts;
pub use self::state::Sitting;
use self::state::{Effects, Members, Told};
pub use self::write_behind::{WINDOW, WriteBehind, WriteBehindCounters};
use crate::clock::Clock;
use crate::feed::{Feed, FeedMessage, Seat};

/// The members that are connected. Publishes under its lock, so that a party hears changes in the order they happened: a
/// reconnect never looks like a disconnect.
pub struct Roster {
    feed: Arc<dyn Feed>,
    clock: Arc<dyn Clock>,
    write_behind: Arc<WriteBehind>,
    state: Mutex<State>,
}

struct State {
    members: Members,
    conflicts: Conflicts,
    /// Hears every write of this replica, on its way to others.
    outgoing: Option<mpsc::Sender<News>>,
}

impl Roster {
    /// Nobody is connected yet.
    pub fn new(replica: ReplicaId, feed: Arc<dyn Feed>, clock: Arc<dyn Clock>, write_behind: Arc<WriteBehind>) -> Self {
        Self {
            feed,
            clock,
            write_behind,
            state: Mutex::new(State {
                members: Members::new(replica),
                conflicts: Conflicts::default(),
                outgoing: None,
            }),
        }
    }

    /// Every write of this replica goes there, too. What does not fit is left out.
    pub fn tell(&self, outgoing: mpsc::Sender<News>) {
        self.lock().outgoing = Some(outgoing);
    }

    /// A stream opened. It takes the place of the member's former one.
    pub fn connect(&self, seat: Seat, id: u64) {
        let mut state = self.lock();
        let write = state.members.connect(seat, id, self.clock.now_ms());
        self.save(&state, seat, &write);
        self.publish(seat, true, None);
    }

    /// A connected member said something about itself.
    pub fn update(&self, seat: Seat, id: u64, presence: Presence) {
        let mut state = self.lock();
        if let Some(write) = state.members.update(seat, id, presence, self.clock.now_ms()) {
            self.save(&state, seat, &write);
            self.publish(seat, true, write.value.presence);
        }
    }

    /// A stream closed. Changes nothing when another has taken its place.
    pub fn disconnect(&self, seat: Seat, id: u64) {
        let mut state = self.lock();
        if let Some((write, gone)) = state.members.disconnect(seat, id, self.clock.now_ms()) {
            self.save(&state, seat, &write);
            self.write_behind.queue_seen(seat, self.clock.now_ms());
            if gone {
                self.publish(seat, false, None);
            }
        }
    }

    /// The connected members of a party, on whichever replica, with what they last said.
    pub fn online(&self, party: PartyId) -> BTreeMap<MemberId, Option<Presence>> {
        self.lock().members.online(party).collect()
    }

    /// Whoever is connected to this replica.
    pub fn here(&self) -> Vec<Seat> {
        self.lock().members.here().collect()
    }

    /// Takes in what other replicas wrote.
    pub fn merge(&self, writes: &[SoftWrite]) {
        let read = writes.iter().filter_map(read);
        let mut state = self.lock();
        let effects = state.members.merge(read.collect(), self.clock.now_ms());
        self.follow(&mut state, effects);
    }

    /// Learns which replicas are there: members of the others are offline.
    pub fn set_there(&self, there: BTreeSet<ReplicaId>) {
        let mut state = self.lock();
        let effects = state.members.set_there(there, self.clock.now_ms());
        self.follow(&mut state, effects);
    }

    /// Queues all that this replica says once more: the database may have lost it.
    pub fn say_again(&self) {
        let state = self.lock();
        for (seat, write) in state.members.own() {
            self.write_behind.queue(kept(seat, &write));
        }
    }

    /// Forgets who went before `before_ms`.
    pub fn forget_gone(&self, before_ms: u64) {
        self.lock().members.forget_gone(time_at(before_ms));
    }

    /// Conflicts of a party's members, each with its number: a newer one has a greater.
    pub fn conflicts(&self, party: PartyId) -> Vec<(u64, SoftConflict)> {
        self.lock().conflicts.of(party)
    }

    /// How many conflicts there were.
    pub fn conflict_count(&self) -> u64 {
        self.lock().conflicts.count()
    }

    fn follow(&self, state: &mut State, effects: Effects) {
        for (seat, conflict) in &effects.conflicts {
            state.conflicts.note(*seat, conflict);
        }
        for (seat, write) in &effects.writes {
            self.save(state, *seat, write);
        }
        for (seat, id) in effects.superseded {
            self.feed.supersede(seat, id);
        }
        for Told { seat, online, presence } in effects.told {
            self.publish(seat, online, presence);
        }
    }

    fn save(&self, state: &State, seat: Seat, write: &Write<Sitting>) {
        let write = kept(seat, write);
        if let Some(outgoing) = &state.outgoing {
            // Others find it in the database.
            let writes = vec![write.clone()];
            let _ = outgoing.try_send(News::Wrote { writes });
        }
        self.write_behind.queue(write);
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write as it is kept.
fn kept(seat: Seat, write: &Write<Sitting>) -> SoftWrite {
    #[expect(clippy::expect_used, reason = "plain data with text keys")]
    let value = serde_json::to_string(&write.value).expect("a sitting is plain data");
    SoftWrite {
        key: SoftKey::Member(seat.party, seat.member),
        stamp: write.stamp,
        seen: write.seen,
        gone: !write.value.online,
        value,
    }
}

/// A write as it was kept; none when it is of something else or of a version that says it otherwise.
fn read(write: &SoftWrite) -> Option<(Seat, Write<Sitting>)> {
    let SoftKey::Member(party, member) = write.key else {
        return None;
    };
    let value = serde_json::from_str(&write.value).ok()?;
    let (stamp, seen) = (write.stamp, write.seen);
    Some((Seat { party, member }, Write { value, stamp, seen }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::SystemClock;
    use crate::feed::MemoryFeed;

    #[test]
    fn the_end_of_a_superseded_stream_does_not_take_the_member_offline() {
        let feed: Arc<dyn Feed> = Arc::new(MemoryFeed::default());
        let roster = Roster::new(ReplicaId(1), feed, Arc::new(SystemClock), Arc::default());
        let seat = Seat {
            party: PartyId(Uuid::nil()),
            member: MemberId(1),
        };
        roster.connect(seat, 1);
        roster.connect(seat, 2);
        roster.disconnect(seat, 1);
        assert_eq!(roster.here(), [seat]);
        roster.disconnect(seat, 2);
        assert!(roster.here().is_empty() && roster.online(seat.party).is_empty());
    }
}
