//! What two replicas wrote of one member without having seen one another's write: kept to be looked at.

use std::collections::{BTreeSet, VecDeque};

use lanrage_shared::api::conflict::{SoftConflict, SoftSide};
use lanrage_shared::ids::PartyId;
use lanrage_shared::lww::{Conflict, Write};

use super::state::Sitting;
use crate::feed::Seat;

/// Conflicts kept, of all parties together. Each takes a few hundred bytes.
const KEPT: usize = 1000;
/// Members whose conflicts are logged, each once: more would say nothing that these do not.
const LOGGED: usize = 1000;

#[derive(Default)]
pub(super) struct Conflicts {
    /// Each with its number, the newest first.
    kept: VecDeque<(u64, PartyId, SoftConflict)>,
    logged: BTreeSet<Seat>,
    count: u64,
}

impl Conflicts {
    pub(super) fn note(&mut self, seat: Seat, conflict: &Conflict<Sitting>) {
        self.count += 1;
        if self.logged.len() < LOGGED && self.logged.insert(seat) {
            tracing::info!(
                party = %seat.party, member = %seat.member,
                holds = %conflict.winner.stamp.replica, yields = %conflict.loser.stamp.replica,
                "two replicas wrote of one member at once; the later stream holds"
            );
        }
        self.kept.truncate(KEPT - 1);
        let conflict = SoftConflict {
            member: seat.member,
            winner: side(&conflict.winner),
            loser: side(&conflict.loser),
        };
        self.kept.push_front((self.count, seat.party, conflict));
    }

    /// Of a party, each with its number: a newer one has a greater.
    pub(super) fn of(&self, party: PartyId) -> Vec<(u64, SoftConflict)> {
        let own = self.kept.iter().filter(|(_, of, _)| *of == party);
        own.map(|(number, _, conflict)| (*number, conflict.clone())).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

fn side(write: &Write<Sitting>) -> SoftSide {
    SoftSide {
        replica: write.stamp.replica.0,
        at_ms: write.stamp.ms(),
        online: write.value.online,
        presence: write.value.presence.clone(),
    }
}
