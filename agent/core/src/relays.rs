//! Which relays to have sessions with: a home relay, a warm spare, and those that peers cannot be reached without.

mod remembered;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{DeviceId, RelayId};

/// Home and spare.
const OWN: usize = 2;
/// Sessions for the sake of peers, at most.
const FOR_PEERS: usize = 2;
/// Relays tried at the start, to learn which is near.
const TRIED: usize = 4;
/// How long those that turn out not to be needed are kept.
const TRIAL: Duration = Duration::from_secs(10);
/// Another relay becomes home only when it is better by this, in ms.
const HYSTERESIS_MS: f64 = 10.0;
/// Relays this close to each other are equals, among which devices spread evenly.
const EQUAL_MS: f64 = 5.0;
/// A relay this full is avoided as if it were a second away.
const FULL_PERCENT: u8 = 90;
const FULL_MS: f64 = 1000.0;
/// What a relay is taken for that never answered.
const UNKNOWN_MS: f64 = 200.0;
/// A relay that failed is not chosen again for this long, unless there is no other.
const AVOIDED: Duration = Duration::from_secs(30);

/// The choice of relays.
#[derive(Debug)]
pub struct RelayChoice {
    device: DeviceId,
    offered: Vec<Relay>,
    known: BTreeMap<RelayId, Known>,
    home: Option<RelayId>,
    trial_until: Instant,
}

#[derive(Debug, Default)]
struct Known {
    rtt_ms: Option<f64>,
    failed: Option<Instant>,
}

impl RelayChoice {
    /// Nothing is offered yet.
    pub fn new(device: DeviceId, now: Instant) -> Self {
        Self {
            device,
            offered: Vec::new(),
            known: BTreeMap::new(),
            home: None,
            trial_until: now + TRIAL,
        }
    }

    /// What the control server offers now.
    pub fn handle_offer(&mut self, offered: Vec<Relay>, now: Instant) {
        let new = |relay: &Relay| !self.known.contains_key(&relay.id);
        if offered.iter().any(new) {
            self.trial_until = now + TRIAL;
        }
        for relay in &offered {
            self.known.entry(relay.id.clone()).or_default();
        }
        self.known.retain(|id, _| offered.iter().any(|relay| relay.id == *id));
        self.offered = offered;
    }

    /// The round trip to a relay, measured.
    pub fn handle_rtt(&mut self, relay: &RelayId, rtt: Duration) {
        if let Some(known) = self.known.get_mut(relay) {
            known.rtt_ms = Some(rtt.as_secs_f64() * 1000.0);
            known.failed = None;
        }
    }

    /// A relay could not be reached, ended the session, or is about to stop.
    pub fn handle_failure(&mut self, relay: &RelayId, now: Instant) {
        if let Some(known) = self.known.get_mut(relay) {
            known.failed = Some(now);
        }
    }

    /// The relays to have sessions with, the home relay first. `for_peers` are those that lead to peers nothing else leads to.
    pub fn wanted(&mut self, for_peers: &[RelayId], now: Instant) -> Vec<Relay> {
        let mut ranked: Vec<(bool, f64, u64, &Relay)> = self
            .offered
            .iter()
            .map(|relay| {
                let (avoided, distance) = self.rank(relay, now);
                (avoided, distance, self.spread(&relay.id), relay)
            })
            .collect();
        ranked.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
        let Some((_, nearest, ..)) = ranked.first().copied() else {
            self.home = None;
            return Vec::new();
        };
        let best = ranked
            .iter()
            .filter(|(avoided, distance, ..)| *avoided == ranked[0].0 && *distance <= nearest + EQUAL_MS)
            .min_by_key(|(_, _, spread, _)| *spread)
            .map(|(.., relay)| relay.id.clone());
        let kept = ranked
            .iter()
            .find(|(avoided, distance, _, relay)| {
                Some(&relay.id) == self.home.as_ref() && *avoided == ranked[0].0 && *distance <= nearest + HYSTERESIS_MS
            })
            .map(|(.., relay)| relay.id.clone());
        self.home = kept.or(best);
        let count = if now < self.trial_until { TRIED } else { OWN };
        let mut ids: Vec<RelayId> = self.home.clone().into_iter().collect();
        for (.., relay) in &ranked {
            if ids.len() < count && !ids.contains(&relay.id) {
                ids.push(relay.id.clone());
            }
        }
        for id in for_peers.iter().take(FOR_PEERS) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        let find = |id: &RelayId| self.offered.iter().find(|relay| relay.id == *id).cloned();
        ids.iter().filter_map(find).collect()
    }

    /// When [`RelayChoice::wanted`] may give something else although nothing happened.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let failures = self
            .known
            .values()
            .filter_map(|known| known.failed.map(|at| at + AVOIDED));
        failures.chain([self.trial_until]).filter(|at| *at > now).min()
    }

    fn rank(&self, relay: &Relay, now: Instant) -> (bool, f64) {
        let known = self.known.get(&relay.id);
        let avoided = known
            .and_then(|known| known.failed)
            .is_some_and(|at| now < at + AVOIDED);
        let rtt = known.and_then(|known| known.rtt_ms).unwrap_or(UNKNOWN_MS);
        let full = if relay.load >= FULL_PERCENT { FULL_MS } else { 0.0 };
        (avoided, rtt + full)
    }

    /// The same device prefers the same one of equals, and different devices different ones.
    fn spread(&self, relay: &RelayId) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.device.0, relay.as_str()).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::Pin;

    use super::*;

    fn relay(id: &str, load: u8) -> Relay {
        Relay {
            id: id.parse().unwrap(),
            region: String::new(),
            host: None,
            port: 4443,
            pin: Pin([0; 32]),
            load,
        }
    }

    fn choice(device: u8, relays: &[(&str, u64)], now: Instant) -> RelayChoice {
        let mut choice = RelayChoice::new(DeviceId([device; 16]), now);
        choice.handle_offer(relays.iter().map(|(id, _)| relay(id, 0)).collect(), now);
        for (id, ms) in relays {
            choice.handle_rtt(&id.parse().unwrap(), Duration::from_millis(*ms));
        }
        choice
    }

    fn wanted(choice: &mut RelayChoice, now: Instant) -> Vec<String> {
        choice
            .wanted(&[], now)
            .iter()
            .map(|relay| relay.id.to_string())
            .collect()
    }

    #[test]
    fn the_nearest_is_home_the_next_is_the_spare_and_the_rest_is_let_go_of_after_the_trial() {
        let start = Instant::now();
        let mut choice = choice(
            1,
            &[("far", 90), ("near", 10), ("mid", 40), ("off", 200), ("moon", 900)],
            start,
        );
        assert_eq!(wanted(&mut choice, start), ["near", "mid", "far", "off"]);
        assert_eq!(wanted(&mut choice, start + TRIAL), ["near", "mid"]);
    }

    #[test]
    fn home_stays_until_another_is_clearly_better() {
        let start = Instant::now();
        let later = start + TRIAL;
        let mut choice = choice(1, &[("a", 30), ("b", 50)], start);
        assert_eq!(wanted(&mut choice, later), ["a", "b"]);
        choice.handle_rtt(&"b".parse().unwrap(), Duration::from_millis(22));
        assert_eq!(wanted(&mut choice, later), ["a", "b"]);
        choice.handle_rtt(&"b".parse().unwrap(), Duration::from_millis(15));
        assert_eq!(wanted(&mut choice, later), ["b", "a"]);
    }

    #[test]
    fn a_relay_that_failed_or_is_full_is_home_only_without_another() {
        let start = Instant::now();
        let later = start + TRIAL;
        let mut choice = choice(1, &[("a", 10), ("b", 50)], start);
        choice.handle_failure(&"a".parse().unwrap(), later);
        assert_eq!(wanted(&mut choice, later), ["b", "a"]);
        assert_eq!(choice.next_change(later), Some(later + AVOIDED));
        assert_eq!(wanted(&mut choice, later + AVOIDED), ["a", "b"]);
        choice.handle_offer(vec![relay("a", 95), relay("b", 0)], later);
        assert_eq!(wanted(&mut choice, later + AVOIDED), ["b", "a"]);
        choice.handle_offer(vec![relay("a", 95)], later);
        assert_eq!(wanted(&mut choice, later + AVOIDED), ["a"]);
        choice.handle_offer(vec![], later);
        assert!(wanted(&mut choice, later).is_empty());
    }

    #[test]
    fn equals_share_the_devices() {
        let now = Instant::now();
        let homes: Vec<String> = (0..100)
            .map(|device| wanted(&mut choice(device, &[("a", 20), ("b", 22)], now), now).swap_remove(0))
            .collect();
        let at_a = homes.iter().filter(|home| *home == "a").count();
        assert!((30..=70).contains(&at_a), "{at_a} of 100");
    }

    #[test]
    fn the_first_choice_goes_by_the_distances_of_before_and_by_what_is_measured_later() {
        let start = Instant::now();
        let mut choice = RelayChoice::new(DeviceId([1; 16]), start);
        let before = [("b", 20), ("gone", 1)].map(|(id, ms)| (id.parse().unwrap(), Duration::from_millis(ms)));
        choice.handle_remembered(&before.into());
        choice.handle_offer(vec![relay("a", 0), relay("b", 0)], start);
        assert_eq!(wanted(&mut choice, start), ["b", "a"]);
        choice.handle_rtt(&"a".parse().unwrap(), Duration::from_millis(10));
        choice.handle_rtt(&"b".parse().unwrap(), Duration::from_millis(90));
        assert_eq!(wanted(&mut choice, start), ["a", "b"]);
    }

    #[test]
    fn looking_anew_measures_all_again_and_gives_failed_ones_another_chance() {
        let start = Instant::now();
        let later = start + TRIAL;
        let mut choice = choice(1, &[("a", 10), ("b", 50), ("c", 90)], start);
        choice.handle_failure(&"a".parse().unwrap(), later);
        assert_eq!(wanted(&mut choice, later), ["b", "c"]);
        choice.handle_refresh(later);
        assert_eq!(wanted(&mut choice, later), ["a", "b", "c"]);
        assert_eq!(wanted(&mut choice, later + TRIAL), ["a", "b"]);
    }

    #[test]
    fn a_relay_that_peers_need_is_wanted_too() {
        let start = Instant::now();
        let mut choice = choice(1, &[("a", 10), ("b", 20), ("c", 300)], start);
        let ids: Vec<_> = choice
            .wanted(&["c".parse().unwrap(), "gone".parse().unwrap()], start + TRIAL)
            .iter()
            .map(|relay| relay.id.to_string())
            .collect();
        assert_eq!(ids, ["a", "b", "c"]);
    }
}
