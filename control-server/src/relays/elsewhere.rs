//! Relays that are linked to other replicas, and what these are told of the ones here. No IO.
//!
//! The replica that a relay registered with last speaks for it. Its word holds for as long as it is there itself: it is the one to
//! notice that the relay is silent.

use std::collections::{BTreeMap, BTreeSet};

use lanrage_shared::api::relay::{ListedRelay, Relay, RelayHealth};
use lanrage_shared::hlc::{Hlc, ReplicaId};
use lanrage_shared::ids::RelayId;
use lanrage_shared::lww::{LwwMap, Write};
use lanrage_store::{SoftKey, SoftWrite};
use serde::{Deserialize, Serialize};

/// What a replica says of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Word {
    pub(super) relay: Relay,
    pub(super) health: RelayHealth,
    pub(super) draining: bool,
    /// It runs in the replica's process.
    pub(super) own: bool,
    /// It is no longer there.
    gone: bool,
}

impl Word {
    pub(super) fn new(relay: Relay, health: RelayHealth, draining: bool, own: bool) -> Self {
        Self {
            relay,
            health,
            draining,
            own,
            gone: false,
        }
    }
}

pub(super) struct Elsewhere {
    clock: Hlc,
    words: LwwMap<RelayId, Word>,
    there: BTreeSet<ReplicaId>,
    /// When a word of another replica last came, by this machine's uptime in milliseconds.
    heard_ms: BTreeMap<RelayId, u64>,
}

impl Elsewhere {
    pub(super) fn new(replica: ReplicaId) -> Self {
        Self {
            clock: Hlc::new(replica),
            words: LwwMap::default(),
            there: BTreeSet::new(),
            heard_ms: BTreeMap::new(),
        }
    }

    pub(super) fn set_there(&mut self, there: BTreeSet<ReplicaId>) {
        self.there = there;
    }

    /// Takes in what other replicas said.
    pub(super) fn merge(&mut self, writes: &[SoftWrite], uptime_ms: u64) {
        let me = self.clock.replica();
        for write in writes.iter().filter(|write| write.stamp.replica != me) {
            let SoftKey::Relay(id) = &write.key else {
                continue;
            };
            let Ok(value) = serde_json::from_str(&write.value) else {
                continue;
            };
            self.clock.receive(write.stamp);
            let write = Write {
                value,
                stamp: write.stamp,
                seen: write.seen,
            };
            if self.words.merge(id.clone(), write).changed {
                self.heard_ms.insert(id.clone(), uptime_ms);
            }
        }
    }

    /// What there is to say now that these are the relays here.
    pub(super) fn say(&mut self, here: &BTreeMap<RelayId, Word>, now_ms: u64) -> Vec<SoftWrite> {
        let me = self.clock.replica();
        let mut said = Vec::new();
        for (id, word) in here {
            let held = self.words.get(id).filter(|held| held.stamp.replica == me);
            let known = held.is_some_and(|held| held.value == *word);
            // A name that two processes gave their relays stays with the one that came first.
            if !known && !self.spoken_for(id).is_some_and(|word| word.own) {
                said.push((id.clone(), word.clone()));
            }
        }
        for (id, held) in self.words.iter() {
            if held.stamp.replica == me && !held.value.gone && !here.contains_key(id) {
                let gone = Word {
                    gone: true,
                    ..held.value.clone()
                };
                said.push((id.clone(), gone));
            }
        }
        let mut written = Vec::with_capacity(said.len());
        for (id, word) in said {
            let stamp = self.clock.stamp(now_ms);
            written.push(kept(id.clone(), &self.words.write(id, word, stamp)));
        }
        written
    }

    /// What another replica that is there says of a relay.
    pub(super) fn spoken_for(&self, id: &RelayId) -> Option<&Word> {
        self.words.get(id).and_then(|held| self.shown(held))
    }

    fn shown<'a>(&self, held: &'a Write<Word>) -> Option<&'a Word> {
        let there = self.there.contains(&held.stamp.replica) && held.stamp.replica != self.clock.replica();
        Some(&held.value).filter(|word| there && !word.gone)
    }

    fn all(&self) -> impl Iterator<Item = (&RelayId, &Word)> {
        let shown = self.words.iter().map(|(id, held)| Some((id, self.shown(held)?)));
        shown.flatten()
    }

    /// Names of the relays elsewhere.
    pub(super) fn names(&self) -> Vec<RelayId> {
        self.all().map(|(id, _)| id.clone()).collect()
    }

    /// Those that members are offered.
    pub(super) fn offered(&self) -> impl Iterator<Item = Relay> {
        let offered = self.all().filter(|(_, word)| !word.draining);
        offered.map(|(_, word)| word.relay.clone())
    }

    /// All, as they last reported.
    pub(super) fn listed(&self, uptime_ms: u64) -> impl Iterator<Item = ListedRelay> {
        self.all().map(move |(id, word)| ListedRelay {
            id: id.clone(),
            region: word.relay.region.clone(),
            health: word.health,
            draining: word.draining,
            seen_s: uptime_ms.saturating_sub(self.heard_ms.get(id).copied().unwrap_or_default()) / 1000,
        })
    }
}

fn kept(id: RelayId, write: &Write<Word>) -> SoftWrite {
    #[expect(clippy::expect_used, reason = "plain data with text keys")]
    let value = serde_json::to_string(&write.value).expect("a word is plain data");
    SoftWrite {
        key: SoftKey::Relay(id),
        stamp: write.stamp,
        seen: write.seen,
        gone: write.value.gone,
        value,
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::Pin;

    use super::*;

    fn id() -> RelayId {
        "fra-1".parse().unwrap()
    }

    fn here(own: bool, port: u16) -> BTreeMap<RelayId, Word> {
        let relay = Relay {
            id: id(),
            region: "eu".into(),
            host: None,
            port,
            pin: Pin([1; 32]),
            load: 0,
        };
        BTreeMap::from([(id(), Word::new(relay, RelayHealth::default(), false, own))])
    }

    fn replicas() -> (Elsewhere, Elsewhere) {
        let (mut one, mut two) = (Elsewhere::new(ReplicaId(1)), Elsewhere::new(ReplicaId(2)));
        one.set_there(BTreeSet::from([ReplicaId(2)]));
        two.set_there(BTreeSet::from([ReplicaId(1)]));
        (one, two)
    }

    #[test]
    fn a_relay_is_known_elsewhere_until_its_replica_says_otherwise_or_is_gone() {
        let (mut one, mut two) = replicas();
        let said = one.say(&here(false, 1), 1000);
        assert!(one.say(&here(false, 1), 1000).is_empty(), "said once");
        two.merge(&said, 0);
        assert_eq!(two.offered().count(), 1);
        two.set_there(BTreeSet::new());
        assert_eq!(two.offered().count(), 0);
        two.set_there(BTreeSet::from([ReplicaId(1)]));
        two.merge(&one.say(&BTreeMap::new(), 1000), 0);
        assert_eq!(two.offered().count() + two.names().len(), 0);
    }

    #[test]
    fn the_replica_it_registered_with_last_speaks_for_it() {
        let (mut one, mut two) = replicas();
        two.merge(&one.say(&here(false, 1), 9000), 0);
        one.merge(&two.say(&here(false, 2), 1000), 0);
        assert_eq!(one.spoken_for(&id()).unwrap().relay.port, 2);
        assert!(two.spoken_for(&id()).is_none(), "it is here");
    }

    #[test]
    fn a_name_of_a_relay_in_a_process_is_not_taken_from_it() {
        let (mut one, mut two) = replicas();
        two.merge(&one.say(&here(true, 1), 1000), 0);
        assert!(two.say(&here(true, 2), 9000).is_empty());
    }
}
