//! What is known of relays before the first session, and when it is looked at anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanrage_shared::ids::RelayId;

use super::{RelayChoice, SETTLING};

impl RelayChoice {
    /// How far relays were in an earlier run: what to go by until they are measured. Wanted before the first offer.
    pub fn handle_remembered(&mut self, rtts: &BTreeMap<RelayId, Duration>) {
        for (relay, rtt) in rtts {
            self.known.entry(relay.clone()).or_default().rtt.get_or_insert(*rtt);
        }
    }

    /// Every relay may be another distance away by now, and one that failed may be back.
    pub fn handle_refresh(&mut self, now: Instant) {
        self.settling_until = Some(now + SETTLING);
        for known in self.known.values_mut() {
            known.handle_moved();
            known.failure = None;
        }
    }
}
