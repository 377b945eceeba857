//! Which relays members are offered. No IO: the time, in milliseconds of a clock that never jumps, is a parameter.

use std::collections::BTreeMap;

use lanrage_shared::api::relay::{ListedRelay, RELAY_STALE_S, Relay, RelayHealth};
use lanrage_shared::ids::RelayId;
use tokio_util::sync::CancellationToken;

use super::elsewhere::Word;
use super::registration::Registration;

/// Relays of one server: a member gets a token for each.
pub const MAX_RELAYS: usize = 64;
/// A load is told anew when it differs from the one told by this many points: members choose by tens of percent, and a report
/// comes every few seconds.
const LOAD_STEP: u8 = 10;

/// Tells a relay's links apart; grows.
pub(super) type LinkId = u64;

/// Why a sound registration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("this server has {MAX_RELAYS} relays already: stop one first")]
    TooMany,
    #[error("the relay inside the control server has this name: choose another one with --name")]
    NameTaken,
    #[error(
        "a relay inside another control server on the same database has this name: choose another one, with relay_name in the configuration file's [services], or --name"
    )]
    NameTakenElsewhere,
}

/// Where a relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// In this process: it is there as long as this process is, and nobody takes its place.
    Own,
    /// Somewhere else, with a link.
    Linked,
}

/// The relays, by name.
#[derive(Debug, Default)]
pub(super) struct Registry(BTreeMap<RelayId, Entry>);

#[derive(Debug)]
struct Entry {
    origin: Origin,
    link: LinkId,
    superseded: CancellationToken,
    /// As members were told.
    relay: Relay,
    /// As it says now.
    health: RelayHealth,
    heard_ms: u64,
    draining: bool,
    applied: u64,
}

impl Registry {
    /// A link has begun. Gives what ends the relay's former link.
    pub(super) fn handle_register(
        &mut self,
        registration: Registration,
        origin: Origin,
        link: LinkId,
        superseded: CancellationToken,
        now_ms: u64,
    ) -> Result<Option<CancellationToken>, RegisterError> {
        match self.0.get(&registration.id) {
            Some(former) if former.origin == Origin::Own => return Err(RegisterError::NameTaken),
            None if self.0.len() >= MAX_RELAYS => return Err(RegisterError::TooMany),
            _ => {}
        }
        let former = self.0.remove(&registration.id);
        let Registration {
            id,
            region,
            host,
            port,
            pin,
            capacity,
        } = registration;
        let relay = Relay {
            id: id.clone(),
            region,
            host,
            port,
            pin,
            // Until it reports: a link that breaks for a moment changes nothing for members.
            load: former.as_ref().map_or(0, |former| former.relay.load),
        };
        let entry = Entry {
            origin,
            link,
            superseded,
            relay,
            health: RelayHealth {
                capacity,
                ..former.as_ref().map(|former| former.health).unwrap_or_default()
            },
            heard_ms: now_ms,
            draining: false,
            applied: 0,
        };
        self.0.insert(id, entry);
        Ok(former.map(|former| former.superseded))
    }

    pub(super) fn handle_health(&mut self, id: &RelayId, link: LinkId, health: &RelayHealth, now_ms: u64) {
        if let Some(entry) = self.of_link(id, link) {
            entry.heard_ms = now_ms;
            entry.health = *health;
            let load = health.load.min(100);
            if load.abs_diff(entry.relay.load) >= LOAD_STEP {
                entry.relay.load = load;
            }
        }
    }

    pub(super) fn handle_applied(&mut self, id: &RelayId, link: LinkId, seq: u64) {
        if let Some(entry) = self.of_link(id, link) {
            entry.applied = entry.applied.max(seq);
        }
    }

    pub(super) fn handle_draining(&mut self, id: &RelayId, link: LinkId) {
        if let Some(entry) = self.of_link(id, link) {
            entry.draining = true;
        }
    }

    /// Drops relays that were silent for too long, and says which. Their links, if open, end.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> Vec<RelayId> {
        let stale = |entry: &Entry| {
            entry.origin == Origin::Linked && now_ms.saturating_sub(entry.heard_ms) > RELAY_STALE_S * 1000
        };
        let gone = self.0.extract_if(.., |_, entry| stale(entry));
        gone.map(|(id, entry)| {
            entry.superseded.cancel();
            id
        })
        .collect()
    }

    /// What members are offered, by name.
    pub(super) fn offered(&self) -> Vec<Relay> {
        let there = self.0.values().filter(|entry| !entry.draining);
        there.map(|entry| entry.relay.clone()).collect()
    }

    /// All there are, by name.
    pub(super) fn listed(&self, now_ms: u64) -> Vec<ListedRelay> {
        let listed = self.0.values().map(|entry| ListedRelay {
            id: entry.relay.id.clone(),
            region: entry.relay.region.clone(),
            health: entry.health,
            draining: entry.draining,
            seen_s: now_ms.saturating_sub(entry.heard_ms) / 1000,
        });
        listed.collect()
    }

    /// The relays here, as other replicas are told of them.
    pub(super) fn words(&self) -> BTreeMap<RelayId, Word> {
        let word = |entry: &Entry| {
            let own = entry.origin == Origin::Own;
            Word::new(entry.relay.clone(), entry.health, entry.draining, own)
        };
        self.0.iter().map(|(id, entry)| (id.clone(), word(entry))).collect()
    }

    /// Another replica speaks for this relay now: its link here, if open, ends.
    pub(super) fn handle_elsewhere(&mut self, id: &RelayId) {
        if self.0.get(id).is_some_and(|entry| entry.origin == Origin::Linked)
            && let Some(entry) = self.0.remove(id)
        {
            entry.superseded.cancel();
        }
    }

    pub(super) fn applied(&self, id: &RelayId) -> Option<u64> {
        self.0.get(id).map(|entry| entry.applied)
    }

    fn of_link(&mut self, id: &RelayId, link: LinkId) -> Option<&mut Entry> {
        self.0.get_mut(id).filter(|entry| entry.link == link)
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::Pin;

    use super::*;

    fn registration(id: &str) -> Registration {
        Registration {
            id: id.parse().unwrap(),
            region: "eu-west".into(),
            host: None,
            port: 4443,
            pin: Pin([1; 32]),
            capacity: 1000,
        }
    }

    fn health(load: u8) -> RelayHealth {
        RelayHealth {
            load,
            ..RelayHealth::default()
        }
    }

    fn register(registry: &mut Registry, id: &str, link: LinkId, now_ms: u64) -> Option<CancellationToken> {
        registry
            .handle_register(registration(id), Origin::Linked, link, CancellationToken::new(), now_ms)
            .unwrap()
    }

    fn loads(registry: &Registry) -> Vec<(String, u8)> {
        let relays = registry.offered().into_iter();
        relays.map(|relay| (relay.id.to_string(), relay.load)).collect()
    }

    #[test]
    fn a_silent_relay_vanishes_and_one_that_reports_stays() {
        let mut registry = Registry::default();
        register(&mut registry, "fra-1", 1, 0);
        register(&mut registry, "lon-1", 2, 0);
        let id = "lon-1".parse().unwrap();
        let stale_ms = RELAY_STALE_S * 1000;
        registry.handle_health(&id, 2, &health(0), 5000);
        assert!(registry.handle_timeout(stale_ms).is_empty());
        assert_eq!(registry.handle_timeout(stale_ms + 1), ["fra-1".parse().unwrap()]);
        assert_eq!(loads(&registry), [("lon-1".into(), 0)]);
    }

    #[test]
    fn all_are_listed_with_what_they_last_reported() {
        let mut registry = Registry::default();
        register(&mut registry, "fra-1", 1, 1000);
        let id = "fra-1".parse().unwrap();
        let listed = |registry: &Registry| registry.listed(9000).swap_remove(0);
        let fresh = listed(&registry);
        assert_eq!(
            (fresh.region.as_str(), fresh.health.capacity, fresh.seen_s),
            ("eu-west", 1000, 8)
        );
        let health = RelayHealth {
            sessions: 42,
            capacity: 1000,
            load: 4,
            forwarded: 7,
            dropped: 1,
        };
        registry.handle_health(&id, 1, &health, 6000);
        registry.handle_draining(&id, 1);
        let reported = listed(&registry);
        assert_eq!((reported.health, reported.draining, reported.seen_s), (health, true, 3));
        register(&mut registry, "fra-1", 2, 9000);
        let again = listed(&registry);
        assert_eq!((again.health, again.draining, again.seen_s), (health, false, 0));
    }

    #[test]
    fn a_load_is_told_in_steps() {
        let mut registry = Registry::default();
        register(&mut registry, "fra-1", 1, 0);
        let id = "fra-1".parse().unwrap();
        let mut told = Vec::new();
        for load in [9, 10, 19, 1, 0, 255] {
            registry.handle_health(&id, 1, &health(load), 0);
            told.push(loads(&registry)[0].1);
        }
        assert_eq!(told, [0, 10, 10, 10, 0, 100]);
    }

    #[test]
    fn a_new_link_takes_the_place_of_the_old_one_and_keeps_what_members_know() {
        let mut registry = Registry::default();
        register(&mut registry, "fra-1", 1, 0);
        let id = "fra-1".parse().unwrap();
        registry.handle_health(&id, 1, &health(40), 0);
        registry.handle_draining(&id, 1);
        assert!(registry.offered().is_empty(), "who drains is not offered");
        assert!(register(&mut registry, "fra-1", 2, 0).is_some());
        assert_eq!(loads(&registry), [("fra-1".into(), 40)]);
        registry.handle_draining(&id, 1);
        registry.handle_health(&id, 1, &health(90), 0);
        registry.handle_applied(&id, 1, 9);
        assert_eq!(loads(&registry), [("fra-1".into(), 40)], "the old link has no say");
        registry.handle_applied(&id, 2, 5);
        registry.handle_applied(&id, 2, 4);
        assert_eq!(registry.applied(&id), Some(5));
    }

    #[test]
    fn nobody_takes_the_place_of_the_relay_in_this_process() {
        let mut registry = Registry::default();
        let ours = CancellationToken::new();
        let register = |registry: &mut Registry, origin, token| {
            let outcome = registry.handle_register(registration("main"), origin, 1, token, 0);
            outcome.map(drop)
        };
        assert_eq!(register(&mut registry, Origin::Own, ours.clone()), Ok(()));
        let other = register(&mut registry, Origin::Linked, CancellationToken::new());
        assert_eq!(other, Err(RegisterError::NameTaken));
        assert!(registry.handle_timeout(u64::MAX).is_empty() && !ours.is_cancelled());
    }

    #[test]
    fn there_are_only_so_many_relays() {
        let mut registry = Registry::default();
        for n in 0..MAX_RELAYS {
            register(&mut registry, &format!("r-{n}"), 1, 0);
        }
        let more = registry.handle_register(registration("one-more"), Origin::Linked, 1, CancellationToken::new(), 0);
        assert_eq!(more.map(drop), Err(RegisterError::TooMany));
        register(&mut registry, "r-3", 2, 0);
        assert_eq!(registry.offered().len(), MAX_RELAYS);
    }
}
