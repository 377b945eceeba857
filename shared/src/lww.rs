//! A last-write-wins map: state that several replicas write without asking one another, and that is the same everywhere once
//! each has heard of every write, in whatever order and however often.
//!
//! Each key holds the write that comes first by a [`Resolution`], a total order of writes. Merging takes the greater of two, so it
//! is commutative, associative and idempotent. A write also says what of other replicas its writer had seen of the key: when
//! neither of two had seen the other, they are a [`Conflict`], which the order decides all the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use serde::{Deserialize, Serialize};

use crate::hlc::Stamp;

/// What somebody wrote, with when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write<V> {
    pub value: V,
    pub stamp: Stamp,
    /// The last write of another replica to this key that the writer had seen. Of three replicas that write at once, one whose
    /// write follows the second's passes for having seen the third's before it.
    pub seen: Option<Stamp>,
}

impl<V> Write<V> {
    fn has_seen<W>(&self, other: &Write<W>) -> bool {
        self.stamp.replica == other.stamp.replica || self.seen >= Some(other.stamp)
    }
}

/// Which of two writes to a key holds. Must be a total order in which only equal writes are equal: then every replica takes the
/// same one.
pub trait Resolution<V> {
    /// `Greater` when `one` holds.
    fn order(one: &Write<V>, other: &Write<V>) -> Ordering;
}

/// The later write holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct LastWrite;

impl<V> Resolution<V> for LastWrite {
    fn order(one: &Write<V>, other: &Write<V>) -> Ordering {
        one.stamp.cmp(&other.stamp)
    }
}

/// Two replicas wrote to one key without having seen one another's write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict<V> {
    pub winner: Write<V>,
    pub loser: Write<V>,
}

/// What a write from elsewhere did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged<V> {
    /// It holds now.
    pub changed: bool,
    pub conflict: Option<Conflict<V>>,
}

/// The map. `R` decides; by default the later write holds.
#[derive(Debug, Clone)]
pub struct LwwMap<K, V, R = LastWrite> {
    registers: BTreeMap<K, Register<V>>,
    resolution: PhantomData<R>,
}

#[derive(Debug, Clone)]
struct Register<V> {
    write: Write<V>,
    /// The last two replicas' last writes that were heard of, the latest first: what the next write will have seen.
    heard: [Option<Stamp>; 2],
}

impl<V> Register<V> {
    fn hear(&mut self, stamp: Stamp) {
        let [first, second] = &mut self.heard;
        match first {
            Some(known) if known.replica == stamp.replica => *first = Some(stamp.max(*known)),
            _ if second.is_none_or(|known| known < stamp) => *second = Some(stamp),
            _ => {}
        }
        if second > first {
            std::mem::swap(first, second);
        }
    }
}

impl<K, V, R> Default for LwwMap<K, V, R> {
    fn default() -> Self {
        Self {
            registers: BTreeMap::new(),
            resolution: PhantomData,
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq, R: Resolution<V>> LwwMap<K, V, R> {
    /// Writes here. Gives the write, for other replicas to merge.
    pub fn write(&mut self, key: K, value: V, stamp: Stamp) -> Write<V> {
        let heard = self.registers.get(&key).map(|register| register.heard);
        let others = heard.into_iter().flatten().flatten();
        let seen = others.filter(|heard| heard.replica != stamp.replica).max();
        let write = Write { value, stamp, seen };
        self.merge(key, write.clone());
        write
    }

    /// Takes in a write of another replica.
    pub fn merge(&mut self, key: K, write: Write<V>) -> Merged<V> {
        let Some(register) = self.registers.get_mut(&key) else {
            let heard = [Some(write.stamp), None];
            self.registers.insert(key, Register { write, heard });
            return Merged {
                changed: true,
                conflict: None,
            };
        };
        register.hear(write.stamp);
        let order = R::order(&write, &register.write);
        let apart = order.is_ne() && !write.has_seen(&register.write) && !register.write.has_seen(&write);
        let changed = order.is_gt();
        let loser = if changed {
            std::mem::replace(&mut register.write, write)
        } else {
            write
        };
        let conflict = apart.then(|| Conflict {
            winner: register.write.clone(),
            loser,
        });
        Merged { changed, conflict }
    }

    /// What holds for a key.
    pub fn get(&self, key: &K) -> Option<&Write<V>> {
        self.registers.get(key).map(|register| &register.write)
    }

    /// What holds for keys in a range, in order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &Write<V>)> {
        let registers = self.registers.range(keys);
        registers.map(|(key, register)| (key, &register.write))
    }

    /// All that holds, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Write<V>)> {
        self.range(..)
    }

    /// Forgets every key for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &Write<V>) -> bool) {
        self.registers.retain(|key, register| keep(key, &register.write));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hlc::{Hlc, ReplicaId};

    type Map = LwwMap<u8, u32>;
    /// Prefers larger values, then later ones.
    struct Largest;

    impl Resolution<u32> for Largest {
        fn order(one: &Write<u32>, other: &Write<u32>) -> Ordering {
            (one.value, one.stamp).cmp(&(other.value, other.stamp))
        }
    }

    /// What replicas with clocks up to five minutes apart write, each hearing now and then of the others.
    fn writes() -> impl Strategy<Value = Vec<(u8, Write<u32>)>> {
        let step = (0..3_usize, 0..4_u8, any::<u32>(), any::<bool>());
        (
            prop::collection::vec(step, 1..60),
            prop::array::uniform3(0..600_000_u64),
        )
            .prop_map(|(steps, skews)| {
                let mut replicas: Vec<(Hlc, Map)> = (0..3).map(|n| (Hlc::new(ReplicaId(n)), Map::default())).collect();
                let mut log: Vec<(u8, Write<u32>)> = Vec::new();
                for (at, (n, key, value, hears)) in (0_u64..).zip(steps) {
                    let (clock, map) = &mut replicas[n];
                    if hears {
                        for (key, write) in &log {
                            clock.receive(write.stamp);
                            map.merge(*key, write.clone());
                        }
                    }
                    let stamp = clock.stamp(1_700_000_000_000 + skews[n] + at);
                    log.push((key, map.write(key, value, stamp)));
                }
                log
            })
    }

    fn replay<R: Resolution<u32>>(log: &[(u8, Write<u32>)]) -> Vec<(u8, Write<u32>)> {
        let mut map = LwwMap::<u8, u32, R>::default();
        for (key, write) in log {
            map.merge(*key, write.clone());
        }
        map.iter().map(|(key, write)| (*key, write.clone())).collect()
    }

    /// Merges all that one map holds into another.
    fn join(mut one: Map, other: &Map) -> Map {
        for (key, write) in other.iter() {
            one.merge(*key, write.clone());
        }
        one
    }

    fn held(map: &Map) -> Vec<(u8, Write<u32>)> {
        map.iter().map(|(key, write)| (*key, write.clone())).collect()
    }

    fn map_of(log: &[(u8, Write<u32>)]) -> Map {
        let mut map = Map::default();
        for (key, write) in log {
            map.merge(*key, write.clone());
        }
        map
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_of_the_log_give_the_same_map(
            (log, shuffled) in writes().prop_flat_map(|log| {
                let twice: Vec<_> = log.iter().chain(&log).cloned().collect();
                (Just(log), Just(twice).prop_shuffle())
            }),
        ) {
            prop_assert_eq!(replay::<LastWrite>(&log), replay::<LastWrite>(&shuffled));
            prop_assert_eq!(replay::<Largest>(&log), replay::<Largest>(&shuffled));
        }

        #[test]
        fn maps_join_commutatively_associatively_and_idempotently(a in writes(), b in writes(), c in writes()) {
            let (a, b, c) = (map_of(&a), map_of(&b), map_of(&c));
            prop_assert_eq!(held(&join(a.clone(), &b)), held(&join(b.clone(), &a)));
            let (left, right) = (join(join(a.clone(), &b), &c), join(a.clone(), &join(b.clone(), &c)));
            prop_assert_eq!(held(&left), held(&right));
            prop_assert_eq!(held(&join(a.clone(), &a)), held(&a));
        }

        #[test]
        fn who_hears_of_every_write_before_writing_has_no_conflict(
            steps in prop::collection::vec((0..3_usize, 0..4_u8, any::<u32>()), 1..60),
            skews in prop::array::uniform3(0..600_000_u64),
        ) {
            let mut replicas: Vec<(Hlc, Map)> = (0..3).map(|n| (Hlc::new(ReplicaId(n)), Map::default())).collect();
            for (n, key, value) in steps {
                let (clock, map) = &mut replicas[n];
                let stamp = clock.stamp(skews[n]);
                let write = map.write(key, value, stamp);
                for (_, (clock, map)) in replicas.iter_mut().enumerate().filter(|(other, _)| *other != n) {
                    clock.receive(write.stamp);
                    let merged = map.merge(key, write.clone());
                    prop_assert_eq!(merged, Merged { changed: true, conflict: None });
                }
            }
        }
    }

    #[test]
    fn writes_that_had_not_seen_each_other_conflict_on_both_sides_with_one_winner() {
        let (mut one, mut two) = (Map::default(), Map::default());
        let stamp = |time, replica| Stamp {
            time,
            replica: ReplicaId(replica),
        };
        let first = one.write(1, 10, stamp(5, 1));
        let second = two.write(1, 20, stamp(5, 2));
        let at_one = one.merge(1, second.clone());
        let at_two = two.merge(1, first.clone());
        assert_eq!(
            (at_one.changed, at_two.changed),
            (true, false),
            "the tie goes to the larger number"
        );
        let conflict = Some(Conflict {
            winner: second.clone(),
            loser: first,
        });
        assert_eq!((at_one.conflict, at_two.conflict), (conflict.clone(), conflict));
        assert_eq!(one.merge(1, second).conflict, None, "nothing is told twice");
        let later = one.write(1, 30, stamp(6, 1));
        assert_eq!(
            two.merge(1, later),
            Merged {
                changed: true,
                conflict: None
            }
        );
    }
}
