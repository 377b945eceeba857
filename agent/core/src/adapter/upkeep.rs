//! When the adapter is looked at, and what it took to keep it right.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Fault, Wanted};

/// How often the adapter is looked at although the system announced no change.
const PERIOD: Duration = Duration::from_secs(30);
/// Changes come in flocks; the look waits for the end of one.
const SETTLE: Duration = Duration::from_millis(200);
/// Two looks are at least this far apart: another program that sets its routes again whenever we set ours would otherwise
/// keep both of us busy.
const GAP: Duration = Duration::from_secs(1);

/// The last fault that was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRepair {
    /// [`Fault::kind`].
    pub kind: &'static str,
    pub at: Instant,
}

/// Keeps an adapter right.
#[derive(Debug, Default)]
pub struct Upkeep {
    wanted: Option<Wanted>,
    next: Option<Instant>,
    looked: Option<Instant>,
    repairs: BTreeMap<&'static str, u64>,
    last: Option<LastRepair>,
    /// What could not be repaired, and when that was tried.
    left: Vec<Fault>,
    tried: Option<Instant>,
}

impl Upkeep {
    /// A party needs the adapter, or (none) no party does any more. What was counted stays.
    pub fn handle_party(&mut self, wanted: Option<Wanted>, now: Instant) {
        self.wanted = wanted;
        self.left.clear();
        self.next = wanted.map(|_| now + PERIOD);
    }

    /// The system announced that something about interfaces or routes is different.
    pub fn handle_change(&mut self, now: Instant) {
        if self.wanted.is_some() {
            let earliest = self.looked.map_or(now, |looked| looked + GAP);
            let at = earliest.max(now + SETTLE);
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
    }

    /// Whether to try to repair these faults. Those that could not be repaired a moment ago are left alone for a while: each
    /// attempt is a change, which is announced, and leads to the next look.
    pub fn is_worth_repairing(&self, faults: &[Fault], now: Instant) -> bool {
        let is_new = faults.iter().any(|fault| !self.left.contains(fault));
        is_new || (!faults.is_empty() && self.tried.is_none_or(|tried| tried + PERIOD <= now))
    }

    /// Repairs are being tried.
    pub fn handle_attempt(&mut self, now: Instant) {
        self.tried = Some(now);
    }

    /// The adapter was looked at, had these faults before and has those now. The faults that are new among what is left,
    /// to tell of them once.
    pub fn handle_look(&mut self, before: &[Fault], after: Vec<Fault>, now: Instant) -> Vec<Fault> {
        for fault in before.iter().filter(|fault| !after.contains(fault)) {
            *self.repairs.entry(fault.kind()).or_default() += 1;
            self.last = Some(LastRepair {
                kind: fault.kind(),
                at: now,
            });
        }
        self.looked = Some(now);
        self.next = self.wanted.map(|_| now + PERIOD);
        let new = after.iter().filter(|fault| !self.left.contains(fault)).cloned();
        let new = new.collect();
        self.left = after;
        new
    }

    /// When to look.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// What the adapter has to be like; none outside a party.
    pub fn wanted(&self) -> Option<Wanted> {
        self.wanted
    }

    /// How often faults were repaired, by [`Fault::kind`].
    pub fn repairs(&self) -> &BTreeMap<&'static str, u64> {
        &self.repairs
    }

    /// The latest of them.
    pub fn last_repair(&self) -> Option<LastRepair> {
        self.last
    }

    /// What could not be repaired at the last look.
    pub fn left(&self) -> &[Fault] {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Route, tests::wanted};
    use super::*;

    #[test]
    fn looks_come_every_half_minute_and_soon_after_a_change_but_not_in_a_row() {
        let start = Instant::now();
        let mut upkeep = Upkeep::default();
        upkeep.handle_change(start);
        assert_eq!(upkeep.poll_timeout(), None, "no party, nothing to keep");

        upkeep.handle_party(Some(wanted()), start);
        assert_eq!(upkeep.poll_timeout(), Some(start + PERIOD));
        upkeep.handle_change(start);
        upkeep.handle_change(start + SETTLE / 2);
        assert_eq!(upkeep.poll_timeout(), Some(start + SETTLE), "changes do not put it off");

        let looked = start + SETTLE;
        upkeep.handle_look(&[], Vec::new(), looked);
        assert_eq!(upkeep.poll_timeout(), Some(looked + PERIOD));
        upkeep.handle_change(looked);
        assert_eq!(upkeep.poll_timeout(), Some(looked + GAP));
        upkeep.handle_party(None, looked);
        assert_eq!(upkeep.poll_timeout(), None);
    }

    #[test]
    fn what_could_not_be_repaired_is_tried_again_only_after_a_while() {
        let now = Instant::now();
        let mut upkeep = Upkeep::default();
        upkeep.handle_party(Some(wanted()), now);
        let stolen = [Fault::Behind(Route::Multicast, "wg0".to_owned())];
        assert!(upkeep.is_worth_repairing(&stolen, now) && !upkeep.is_worth_repairing(&[], now));
        upkeep.handle_attempt(now);
        upkeep.handle_look(&stolen, stolen.to_vec(), now);
        assert!(!upkeep.is_worth_repairing(&stolen, now + GAP));
        assert!(upkeep.is_worth_repairing(&[Fault::Down, stolen[0].clone()], now + GAP));
        assert!(upkeep.is_worth_repairing(&stolen, now + PERIOD));
    }

    #[test]
    fn what_was_repaired_is_counted_by_kind_and_what_was_not_is_told_once() {
        let now = Instant::now();
        let mut upkeep = Upkeep::default();
        upkeep.handle_party(Some(wanted()), now);
        let missing = [Fault::Missing(Route::Broadcast), Fault::Missing(Route::Multicast)];
        assert_eq!(upkeep.handle_look(&missing, missing[1..].to_vec(), now), missing[1..]);
        assert_eq!(upkeep.repairs().get("route_broadcast"), Some(&1));
        assert_eq!(upkeep.repairs().get("route_multicast"), None);
        assert_eq!(upkeep.last_repair().map(|last| last.kind), Some("route_broadcast"));
        assert_eq!(upkeep.left(), &missing[1..]);

        assert_eq!(upkeep.handle_look(&missing[1..], missing[1..].to_vec(), now), []);
        upkeep.handle_look(&missing[1..], Vec::new(), now);
        assert_eq!(upkeep.repairs().get("route_multicast"), Some(&1));
        assert_eq!(upkeep.left(), []);
    }
}
