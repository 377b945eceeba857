//! What holds of members' presence. No IO.
//!
//! Each stream is a *sitting*, named by the stamp of its beginning. Of two sittings of a member the later one holds, whatever
//! the earlier one still says: so the end of a stream that was superseded on another replica takes nobody offline.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use lanrage_shared::api::presence::Presence;
use lanrage_shared::hlc::{Hlc, ReplicaId, Stamp};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::lww::{Conflict, LwwMap, Resolution, Write};
use serde::{Deserialize, Serialize};

use crate::feed::Seat;

/// What is said of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sitting {
    /// When its stream began.
    pub began: Stamp,
    pub online: bool,
    pub presence: Option<Presence>,
}

/// The later sitting holds, and of one sitting the later word.
pub enum LaterSitting {}

impl Resolution<Sitting> for LaterSitting {
    fn order(one: &Write<Sitting>, other: &Write<Sitting>) -> Ordering {
        (one.value.began, one.stamp).cmp(&(other.value.began, other.stamp))
    }
}

/// What members' streams have to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) seat: Seat,
    pub(super) online: bool,
    pub(super) presence: Option<Presence>,
}

/// What writes from elsewhere led to.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) told: Vec<Told>,
    /// Subscriptions of streams here whose member has a later stream elsewhere.
    pub(super) superseded: Vec<(Seat, u64)>,
    /// What this replica says in return.
    pub(super) writes: Vec<(Seat, Write<Sitting>)>,
    pub(super) conflicts: Vec<(Seat, Conflict<Sitting>)>,
}

pub(super) struct Members {
    clock: Hlc,
    map: LwwMap<Seat, Sitting, LaterSitting>,
    /// Streams of this replica: the subscription and the beginning of each.
    here: HashMap<Seat, (u64, Stamp)>,
    /// Replicas that are there, this one included.
    there: BTreeSet<ReplicaId>,
}

impl Members {
    pub(super) fn new(replica: ReplicaId) -> Self {
        Self {
            clock: Hlc::new(replica),
            map: LwwMap::default(),
            here: HashMap::new(),
            there: BTreeSet::from([replica]),
        }
    }

    /// A stream began. It takes the place of the member's former one.
    pub(super) fn connect(&mut self, seat: Seat, id: u64, now_ms: u64) -> Write<Sitting> {
        let began = self.clock.stamp(now_ms);
        self.here.insert(seat, (id, began));
        let sitting = Sitting {
            began,
            online: true,
            presence: None,
        };
        self.map.write(seat, sitting, began)
    }

    /// A stream's member said something of itself. None when that changes nothing.
    pub(super) fn update(&mut self, seat: Seat, id: u64, presence: Presence, now_ms: u64) -> Option<Write<Sitting>> {
        let (_, began) = *self.here.get(&seat).filter(|(current, _)| *current == id)?;
        let held = &self.map.get(&seat)?.value;
        if held.began != began || held.presence.as_ref() == Some(&presence) {
            return None;
        }
        let sitting = Sitting {
            began,
            online: true,
            presence: Some(presence),
        };
        let stamp = self.clock.stamp(now_ms);
        Some(self.map.write(seat, sitting, stamp))
    }

    /// A stream ended. None when another one of this replica has taken its place; the flag says whether the member is gone.
    pub(super) fn disconnect(&mut self, seat: Seat, id: u64, now_ms: u64) -> Option<(Write<Sitting>, bool)> {
        let (_, began) = *self.here.get(&seat).filter(|(current, _)| *current == id)?;
        self.here.remove(&seat);
        let sitting = Sitting {
            began,
            online: false,
            presence: None,
        };
        let stamp = self.clock.stamp(now_ms);
        let write = self.map.write(seat, sitting, stamp);
        Some((write, !self.is_online(seat)))
    }

    /// Takes in what other replicas wrote.
    pub(super) fn merge(&mut self, writes: Vec<(Seat, Write<Sitting>)>, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        for (seat, write) in writes {
            if write.stamp.replica == self.clock.replica() {
                continue;
            }
            self.clock.receive(write.stamp);
            let was = self.seen_as(seat);
            let merged = self.map.merge(seat, write);
            effects
                .conflicts
                .extend(merged.conflict.into_iter().map(|conflict| (seat, conflict)));
            if merged.changed {
                self.follow(seat, was, now_ms, &mut effects);
            }
        }
        effects
    }

    /// Learns which replicas are there.
    pub(super) fn set_there(&mut self, there: BTreeSet<ReplicaId>, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        let turned: BTreeSet<ReplicaId> = self.there.symmetric_difference(&there).copied().collect();
        if turned.is_empty() {
            return effects;
        }
        let affected = self
            .map
            .iter()
            .filter(|(_, write)| turned.contains(&write.stamp.replica));
        let affected: Vec<Seat> = affected.map(|(seat, _)| *seat).collect();
        let before: Vec<_> = affected.iter().map(|seat| self.seen_as(*seat)).collect();
        self.there = there;
        self.there.insert(self.clock.replica());
        for (seat, was) in affected.into_iter().zip(before) {
            self.follow(seat, was, now_ms, &mut effects);
        }
        effects
    }

    /// What follows for a seat whose write, or whose writer, is another one now.
    fn follow(&mut self, seat: Seat, was: (bool, Option<Presence>), now_ms: u64, effects: &mut Effects) {
        if let Some((id, began)) = self.here.get(&seat).copied() {
            let held = self.map.get(&seat).map(|write| write.value.began);
            if held.is_some_and(|held| held > began) {
                if self.is_online(seat) {
                    self.here.remove(&seat);
                    effects.superseded.push((seat, id));
                } else {
                    // That one has ended, and this one has not: it begins anew.
                    effects.writes.push((seat, self.connect(seat, id, now_ms)));
                }
            }
        }
        let now = self.seen_as(seat);
        if now != was {
            let (online, presence) = now;
            effects.told.push(Told { seat, online, presence });
        }
    }

    fn seen_as(&self, seat: Seat) -> (bool, Option<Presence>) {
        match self.map.get(&seat) {
            Some(write) if self.is_shown(write) => (true, write.value.presence.clone()),
            _ => (false, None),
        }
    }

    fn is_shown(&self, write: &Write<Sitting>) -> bool {
        write.value.online && self.there.contains(&write.stamp.replica)
    }

    pub(super) fn is_online(&self, seat: Seat) -> bool {
        self.map.get(&seat).is_some_and(|write| self.is_shown(write))
    }

    /// The connected members of a party, with what they last said.
    pub(super) fn online(&self, party: PartyId) -> impl Iterator<Item = (MemberId, Option<Presence>)> {
        let seat = |member| Seat { party, member };
        let members = self.map.range(seat(MemberId(0))..=seat(MemberId(u16::MAX)));
        let shown = members.filter(|(_, write)| self.is_shown(write));
        shown.map(|(seat, write)| (seat.member, write.value.presence.clone()))
    }

    /// Whoever has a stream here.
    pub(super) fn here(&self) -> impl Iterator<Item = Seat> {
        self.here.keys().copied()
    }

    /// All that this replica says, for one that may have missed it.
    pub(super) fn own(&self) -> Vec<(Seat, Write<Sitting>)> {
        let own = self
            .map
            .iter()
            .filter(|(_, write)| write.stamp.replica == self.clock.replica());
        own.map(|(seat, write)| (*seat, write.clone())).collect()
    }

    /// Forgets who went before the time `before`, also those whose replica went without saying so.
    pub(super) fn forget_gone(&mut self, before: u64) {
        let there = &self.there;
        self.map.retain(|_, write| {
            let holds = write.value.online && there.contains(&write.stamp.replica);
            holds || write.stamp.time >= before
        });
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SEAT: Seat = Seat {
        party: PartyId(Uuid::nil()),
        member: MemberId(1),
    };
    const NOW_MS: u64 = 1_700_000_000_000;
    /// What the second replica's clock is behind.
    const SKEW_MS: u64 = 300_000;

    fn replicas() -> (Members, Members) {
        let (mut one, mut two) = (Members::new(ReplicaId(1)), Members::new(ReplicaId(2)));
        let both = BTreeSet::from([ReplicaId(1), ReplicaId(2)]);
        one.set_there(both.clone(), NOW_MS);
        two.set_there(both, NOW_MS);
        (one, two)
    }

    fn said(version: &str) -> Presence {
        Presence {
            agent_version: version.into(),
            ..Presence::default()
        }
    }

    #[test]
    fn the_later_stream_holds_on_both_replicas_and_the_end_of_the_earlier_one_changes_nothing() {
        let (mut one, mut two) = replicas();
        let first = one.connect(SEAT, 1, NOW_MS);
        two.merge(vec![(SEAT, first)], NOW_MS - SKEW_MS);
        let second = two.connect(SEAT, 7, NOW_MS - SKEW_MS);
        let late = one.update(SEAT, 1, said("late"), NOW_MS + 1).unwrap();
        let effects = one.merge(vec![(SEAT, second)], NOW_MS + 2);
        assert_eq!(effects.superseded, [(SEAT, 1)]);
        assert_eq!(one.disconnect(SEAT, 1, NOW_MS + 3), None, "it is not here any more");
        assert!(two.merge(vec![(SEAT, late)], NOW_MS - SKEW_MS).told.is_empty());
        assert!(one.is_online(SEAT) && two.is_online(SEAT));
        let end = two.disconnect(SEAT, 7, NOW_MS - SKEW_MS).unwrap();
        assert!(end.1);
        assert!(!one.merge(vec![(SEAT, end.0)], NOW_MS).told[0].online);
    }

    #[test]
    fn a_stream_that_still_stands_outlives_the_end_of_a_later_one_elsewhere() {
        let (mut one, mut two) = replicas();
        one.connect(SEAT, 1, NOW_MS - SKEW_MS);
        let begin = two.connect(SEAT, 7, NOW_MS);
        let (end, _) = two.disconnect(SEAT, 7, NOW_MS).unwrap();
        let effects = one.merge(vec![(SEAT, end), (SEAT, begin)], NOW_MS - SKEW_MS);
        assert!(effects.superseded.is_empty() && one.is_online(SEAT));
        two.merge(effects.writes, NOW_MS);
        assert!(two.is_online(SEAT));
    }

    #[test]
    fn members_of_a_replica_that_is_gone_are_offline_until_it_is_back() {
        let (mut one, mut two) = replicas();
        two.merge(vec![(SEAT, one.connect(SEAT, 1, NOW_MS))], NOW_MS);
        let gone = two.set_there(BTreeSet::from([ReplicaId(2)]), NOW_MS);
        assert!(!gone.told[0].online && !two.is_online(SEAT));
        let back = two.set_there(BTreeSet::from([ReplicaId(1), ReplicaId(2)]), NOW_MS);
        assert!(back.told[0].online);
    }

    #[test]
    fn what_is_said_again_is_no_news() {
        let (mut one, _) = replicas();
        one.connect(SEAT, 1, NOW_MS);
        assert!(one.update(SEAT, 1, said("1"), NOW_MS).is_some());
        assert!(one.update(SEAT, 1, said("1"), NOW_MS).is_none());
        assert!(one.update(SEAT, 2, said("2"), NOW_MS).is_none(), "of another stream");
    }

    #[test]
    fn streams_that_began_without_knowing_of_each_other_are_a_conflict() {
        let (mut one, mut two) = replicas();
        let first = one.connect(SEAT, 1, NOW_MS);
        let second = two.connect(SEAT, 7, NOW_MS - SKEW_MS);
        let at_two = two.merge(vec![(SEAT, first)], NOW_MS);
        let at_one = one.merge(vec![(SEAT, second)], NOW_MS);
        assert_eq!(at_two.superseded, [(SEAT, 7)]);
        assert!(at_one.superseded.is_empty());
        assert_eq!(at_one.conflicts, at_two.conflicts);
        assert_eq!(at_one.conflicts[0].1.winner.stamp.replica, ReplicaId(1));
    }
}
