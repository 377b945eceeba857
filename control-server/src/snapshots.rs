//! What members read while the database is away: every party as this server last knew it.
//!
//! Whatever is read from the database or written there is kept, and the change feed keeps it up to date. A party of which a change
//! is known that is not understood is forgotten rather than shown: who was removed, as far as this server was told, reads nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanrage_shared::api::party::Party;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::PartyEvent;
use lanrage_store::{Missed, Replay};

/// Parties and devices kept at most, about 2 KiB each; newcomers beyond them have to wait for the database.
const MOST: usize = 10_000;
/// What nobody read or changed for this long is forgotten, unless it has streams.
const KEPT_MS: u64 = 3_600_000;

/// Parties as they were.
#[derive(Default)]
pub struct Snapshots(Mutex<Known>);

#[derive(Default)]
struct Known {
    parties: HashMap<PartyId, Kept>,
    /// All parties of each device that asked for them.
    lists: HashMap<DeviceId, List>,
}

struct Kept {
    /// The number of the last event there is.
    last: u64,
    /// The party after it, everybody offline; none when it is not known.
    party: Option<Party>,
    used_ms: u64,
}

#[derive(Default)]
struct List {
    parties: BTreeSet<PartyId>,
    used_ms: u64,
}

impl Snapshots {
    /// Keeps a party, everybody offline, as the database has it after its event `seq`.
    pub fn keep(&self, party: &Party, seq: u64, now_ms: u64) {
        let mut known = self.lock();
        known.list(party);
        let full = known.parties.len() >= MOST;
        let kept = || Kept {
            last: seq,
            party: Some(party.clone()),
            used_ms: now_ms,
        };
        match known.parties.get_mut(&party.id) {
            Some(known) if known.last <= seq => *known = kept(),
            Some(_) => {}
            None if full => {}
            None => {
                known.parties.insert(party.id, kept());
            }
        }
    }

    /// Keeps which parties a device is in: these and no others.
    pub fn keep_list(&self, device: DeviceId, parties: BTreeSet<PartyId>, now_ms: u64) {
        let mut known = self.lock();
        if known.lists.len() < MOST || known.lists.contains_key(&device) {
            known.lists.insert(
                device,
                List {
                    parties,
                    used_ms: now_ms,
                },
            );
        }
    }

    /// Applies what happened to a party.
    pub fn follow(&self, party: PartyId, events: &[(u64, PartyEvent)], now_ms: u64) {
        let mut known = self.lock();
        let Some(kept) = known.parties.get_mut(&party) else {
            return;
        };
        for (seq, event) in events {
            kept.apply(*seq, event, now_ms);
        }
        let party = kept.party.clone();
        if let Some(party) = party {
            known.list(&party);
        }
    }

    /// Learns that a party has events up to `last`.
    pub fn follow_to(&self, party: PartyId, last: u64) {
        if let Some(kept) = self.lock().parties.get_mut(&party) {
            kept.outdate(last);
        }
    }

    /// A party, for whoever is a member as far as is known.
    pub fn party(&self, party: PartyId, device: DeviceId, now_ms: u64) -> Option<Party> {
        Some(self.party_and_seq(party, device, now_ms)?.0)
    }

    fn party_and_seq(&self, party: PartyId, device: DeviceId, now_ms: u64) -> Option<(Party, u64)> {
        let mut known = self.lock();
        let kept = known.parties.get_mut(&party)?;
        kept.party.as_ref()?.member_of(device)?;
        kept.used_ms = now_ms;
        Some((kept.party.clone()?, kept.last))
    }

    /// All parties of a device; none when one of them is not known.
    pub fn parties_of(&self, device: DeviceId, now_ms: u64) -> Option<Vec<Party>> {
        let mut known = self.lock();
        let list = known.lists.get_mut(&device)?;
        list.used_ms = now_ms;
        let ids = list.parties.clone();
        let mut parties = Vec::with_capacity(ids.len());
        for id in ids {
            let kept = known.parties.get(&id)?;
            match &kept.party {
                Some(party) if party.member_of(device).is_some() => parties.push(party.clone()),
                // It has left.
                Some(_) => {}
                None if kept.last == u64::MAX => {}
                None => return None,
            }
        }
        Some(parties)
    }

    /// What brings an agent up to date that has the newest secret there is.
    pub fn replay(
        &self,
        party: PartyId,
        device: DeviceId,
        since: Option<u64>,
        secret_epoch: u32,
        now_ms: u64,
    ) -> Option<Missed> {
        let (party, seq) = self.party_and_seq(party, device, now_ms)?;
        if since.is_some_and(|since| since > seq) {
            return None;
        }
        let has_all = since == Some(seq);
        (secret_epoch >= party.secret_epoch).then(|| Missed {
            replay: if has_all {
                Replay::Events(Vec::new())
            } else {
                Replay::Snapshot
            },
            party,
            seq,
            secrets: Vec::new(),
            keeps_opened: false,
        })
    }

    /// Parties that are known.
    pub fn parties(&self) -> Vec<PartyId> {
        self.lock().parties.keys().copied().collect()
    }

    /// Forgets what was not used for long, unless `in_use`.
    pub fn forget_unused(&self, now_ms: u64, in_use: impl Fn(PartyId) -> bool) {
        let since_ms = now_ms.saturating_sub(KEPT_MS);
        let mut known = self.lock();
        known
            .parties
            .retain(|party, kept| kept.used_ms >= since_ms || in_use(*party));
        known.lists.retain(|_, list| list.used_ms >= since_ms);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic in between leaves a party older than it says it is at most, and none of these steps panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Notes the party for those of its members whose parties are known.
    fn list(&mut self, party: &Party) {
        for member in &party.members {
            if let Some(list) = self.lists.get_mut(&member.device) {
                list.parties.insert(party.id);
            }
        }
    }
}

impl Kept {
    fn outdate(&mut self, last: u64) {
        if last > self.last {
            self.last = last;
            self.party = None;
        }
    }

    fn apply(&mut self, seq: u64, event: &PartyEvent, now_ms: u64) {
        if seq <= self.last {
            return;
        }
        let follows = seq == self.last + 1;
        self.party = self
            .party
            .take()
            .filter(|_| follows)
            .and_then(|mut party| party.follow(event).then_some(party));
        self.last = seq;
        self.used_ms = now_ms;
        if *event == PartyEvent::Deleted {
            self.last = u64::MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::{DeviceKey, IdentityKey, MemberId};
    use lanrage_shared::stream::Departure;
    use lanrage_store::{PartyRow, PartyState, SeatRow};
    use uuid::Uuid;

    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId::of(&IdentityKey([n; 32]))
    }

    fn seat(n: u8) -> SeatRow {
        SeatRow {
            number: MemberId(n.into()),
            device: device(n),
            identity_key: IdentityKey([n; 32]),
            device_key: DeviceKey([n; 32]),
            name: "Anna".parse().unwrap(),
            joined_at_ms: 1,
            last_seen_ms: 1,
            left_at_ms: None,
        }
    }

    fn state(seq: u64, members: &[u8]) -> PartyState {
        let row = PartyRow {
            id: PartyId(Uuid::from_u128(1)),
            name: "Friday".parse().unwrap(),
            host: MemberId(1),
            epoch: 1,
            secret_epoch: 1,
            version: 1,
            seq,
            persistent: false,
            max_members: 10,
            locked: false,
            net_index: 5,
            created_at_ms: 1,
        };
        let seats = members.iter().copied().map(seat).collect();
        PartyState { row, seats }
    }

    fn left(n: u8) -> PartyEvent {
        PartyEvent::MemberLeft {
            member: MemberId(n.into()),
            how: Departure::Kicked,
        }
    }

    fn keep(snapshots: &Snapshots, state: &PartyState) {
        snapshots.keep(&state.party(), state.row.seq, 0);
    }

    fn kept(state: &PartyState) -> (Snapshots, PartyId) {
        let snapshots = Snapshots::default();
        keep(&snapshots, state);
        (snapshots, state.row.id)
    }

    #[test]
    fn events_lead_to_the_party_that_the_database_would_give() {
        let (snapshots, party) = kept(&state(4, &[1, 2]));
        let mut joined = state(4, &[1, 2, 3]);
        joined.row.version = 2;
        joined.row.name = "Saturday".parse().unwrap();
        let before = joined.row.net();
        joined.row.net_index = 6;
        let events = [
            PartyEvent::MemberJoined {
                member: seat(3).member(&before),
            },
            PartyEvent::Updated {
                party: joined.row.settings(),
            },
        ];
        snapshots.follow(party, &[(5, events[0].clone()), (6, events[1].clone())], 0);
        assert_eq!(snapshots.party_and_seq(party, device(3), 0), Some((joined.party(), 6)));
    }

    #[test]
    fn who_was_removed_reads_nothing_and_others_go_on() {
        let (snapshots, party) = kept(&state(4, &[1, 2]));
        assert!(snapshots.party(party, device(2), 0).is_some());
        snapshots.follow(party, &[(5, left(2))], 0);
        assert_eq!(snapshots.party(party, device(2), 0), None);
        assert!(snapshots.party(party, device(1), 0).is_some());
        // What was read before the removal comes late.
        keep(&snapshots, &state(4, &[1, 2]));
        assert_eq!(snapshots.party(party, device(2), 0), None);
    }

    #[test]
    fn a_party_of_which_something_is_missing_is_not_shown() {
        let (snapshots, party) = kept(&state(4, &[1, 2]));
        snapshots.follow(party, &[(6, left(2))], 0);
        assert_eq!(snapshots.party(party, device(1), 0), None);
        keep(&snapshots, &state(6, &[1]));
        assert!(snapshots.party(party, device(1), 0).is_some());
        snapshots.follow_to(party, 7);
        assert_eq!(snapshots.party(party, device(1), 0), None);
    }

    #[test]
    fn a_list_is_whole_or_there_is_none() {
        let first = state(4, &[1]);
        let mut second = state(0, &[1, 2]);
        second.row.id = PartyId(Uuid::from_u128(2));
        let snapshots = Snapshots::default();
        keep(&snapshots, &first);
        assert_eq!(snapshots.parties_of(device(1), 0), None);
        snapshots.keep_list(device(1), BTreeSet::from([first.row.id]), 0);
        keep(&snapshots, &second);
        assert_eq!(
            snapshots.parties_of(device(1), 0),
            Some(vec![first.party(), second.party()])
        );
        snapshots.follow(second.row.id, &[(1, PartyEvent::Deleted)], 0);
        assert_eq!(snapshots.parties_of(device(1), 0), Some(vec![first.party()]));
        snapshots.follow_to(first.row.id, 9);
        assert_eq!(snapshots.parties_of(device(1), 0), None);
    }

    #[test]
    fn an_agent_without_the_newest_secret_has_to_wait_for_the_database() {
        let (snapshots, party) = kept(&state(4, &[1]));
        let replay = |since, epoch| {
            let missed = snapshots.replay(party, device(1), since, epoch, 0);
            missed.map(|missed| missed.replay)
        };
        assert_eq!(replay(Some(4), 1), Some(Replay::Events(vec![])));
        assert_eq!(replay(Some(2), 1), Some(Replay::Snapshot));
        assert_eq!(replay(Some(4), 0), None);
        assert_eq!(replay(Some(5), 1), None, "it knows more than we do");
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let (snapshots, party) = kept(&state(4, &[1]));
        snapshots.forget_unused(KEPT_MS, |_| false);
        assert_eq!(snapshots.parties(), [party]);
        snapshots.forget_unused(KEPT_MS + 1, |_| true);
        assert_eq!(snapshots.parties(), [party]);
        snapshots.forget_unused(KEPT_MS + 1, |_| false);
        assert!(snapshots.parties().is_empty());
    }
}
