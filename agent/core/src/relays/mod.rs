//! Which relays to have sessions with: a home relay, a warm spare, and those that peers cannot be reached without.
//!
//! Only a session tells how far a relay is, so every relay gets one in turn, a few at a time, until each was measured; from then
//! on now and then, and all over again on another network. Peers are told of the relays in use only: a session that is there to
//! measure is nobody's path. A relay that is not in use any more keeps its session for a while, because packets are on their way
//! to it until every peer has heard.

mod known;
mod rank;
mod remembered;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{DeviceId, RelayId};

use self::known::Known;
pub use self::known::{Failure, KnownRelay, Role, Trouble};
pub(crate) use self::rank::load_cost;
use self::rank::{Contender, Footing, best, spread};

/// Sessions for the sake of peers, at most.
const FOR_PEERS: usize = 2;
/// Relays measured at a time: all of a usual server's in a second, without a burst of handshakes where there are many.
const TRIED: usize = 2;
/// When relays were just offered, this many are used for a while: nobody knows yet which ones the peers will end up at, and what
/// two have in common carries their first packet.
const AT_FIRST: usize = 4;
const EARLY: Duration = Duration::from_secs(10);
/// Whoever has not answered by then is taken for unreachable.
const TRIAL: Duration = Duration::from_secs(10);
/// At the start the best may be among those not measured yet, so nothing is held on to until all are, or for this long.
const SETTLING: Duration = Duration::from_secs(10);
/// How long a relay keeps its session after it was last used: peers hear of it within a second, or lose a path in three.
const LINGERS: Duration = Duration::from_secs(10);
/// What a relay that never answered is taken for, next to others of which none works: out of reach.
const UNMEASURED: Duration = Duration::from_secs(1);
/// Of those that linger, no more than there are of home and spare.
const LINGERING: usize = 2;

/// The choice of relays.
#[derive(Debug)]
pub struct RelayChoice {
    device: DeviceId,
    offered: Vec<Relay>,
    known: BTreeMap<RelayId, Known>,
    home: Option<RelayId>,
    spare: Option<RelayId>,
    for_peers: Vec<RelayId>,
    more_spares: Vec<RelayId>,
    early_until: Option<Instant>,
    /// None once it is over.
    settling_until: Option<Instant>,
}

/// The relays to have sessions with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In use, the home relay first: peers may be told.
    pub used: Vec<Relay>,
    /// Being measured, or just left.
    pub held: Vec<Relay>,
}

impl Wanted {
    /// Whether there is to be a session with this relay.
    pub fn contains(&self, id: &RelayId) -> bool {
        self.is_used(id) || self.held.iter().any(|relay| relay.id == *id)
    }

    /// Whether peers may be told of it.
    pub fn is_used(&self, id: &RelayId) -> bool {
        self.used.iter().any(|relay| relay.id == *id)
    }
}

impl RelayChoice {
    /// Nothing is offered yet.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            offered: Vec::new(),
            known: BTreeMap::new(),
            home: None,
            spare: None,
            for_peers: Vec::new(),
            more_spares: Vec::new(),
            early_until: None,
            settling_until: None,
        }
    }

    /// What the control server offers now.
    pub fn handle_offer(&mut self, offered: Vec<Relay>, now: Instant) {
        if self.offered.is_empty() {
            self.settling_until = Some(now + SETTLING);
        }
        if offered.iter().any(|relay| !self.known.contains_key(&relay.id)) {
            self.early_until = Some(now + EARLY);
        }
        for relay in &offered {
            self.known.entry(relay.id.clone()).or_default();
        }
        self.known.retain(|id, _| offered.iter().any(|relay| relay.id == *id));
        self.offered = offered;
    }

    /// The round trip to a relay, measured.
    pub fn handle_rtt(&mut self, relay: &RelayId, rtt: Duration, now: Instant) {
        if let Some(known) = self.known.get_mut(relay) {
            known.handle_rtt(rtt, now);
        }
    }

    /// A relay could not be reached, ended the session, or is about to stop.
    pub fn handle_failure(&mut self, relay: &RelayId, trouble: Trouble, now: Instant) {
        if let Some(known) = self.known.get_mut(relay) {
            known.handle_failure(trouble, now);
        }
    }

    /// This PC is on another network: everything is as far as it is from there.
    pub fn handle_moved(&mut self) {
        self.known.values_mut().for_each(Known::handle_moved);
    }

    /// The relays to have sessions with. `for_peers` are those that lead to peers nothing else leads to.
    pub fn wanted(&mut self, for_peers: &[RelayId], now: Instant) -> Wanted {
        for known in self.known.values_mut() {
            if known.tried.is_some_and(|since| since + TRIAL <= now) {
                let silence = Trouble::Unreachable("it does not answer".to_owned());
                known.handle_failure(silence, now);
            }
        }
        let before = self.in_use();
        let home = self.best(self.home.as_slice(), None);
        let held_on_to: Vec<RelayId> = self.home.iter().chain(&self.spare).cloned().collect();
        let spare = home.as_ref().and_then(|home| self.best(&held_on_to, Some(home)));
        (self.home, self.spare) = (home, spare);
        let is_settled = self.known.values().all(Known::is_settled);
        self.settling_until.take_if(|end| *end <= now || is_settled);
        let own = |id: &RelayId| Some(id) == self.home.as_ref() || Some(id) == self.spare.as_ref();
        let for_peers = for_peers.iter().filter(|id| self.known.contains_key(id) && !own(id));
        self.for_peers = for_peers.take(FOR_PEERS).cloned().collect();
        self.early_until.take_if(|end| *end <= now);
        self.more_spares = self.more_spares();
        let in_use = self.in_use();
        for (id, known) in &mut self.known {
            if in_use.contains(id) {
                (known.tried, known.left) = (None, None);
            } else if before.contains(id) {
                known.left = Some(now);
            }
        }
        let held = self.lingering(now).into_iter().chain(self.tried(now));
        let held: Vec<RelayId> = held.collect();
        Wanted {
            used: in_use.iter().filter_map(|id| self.offer(id)).collect(),
            held: held.iter().filter_map(|id| self.offer(id)).collect(),
        }
    }

    /// When [`RelayChoice::wanted`] may give something else although nothing happened.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let unused = self.known.iter().filter(|(id, _)| self.role(id) >= Role::Tried);
        let changes = unused.flat_map(|(_, known)| {
            let trial = known.tried.map(|at| at + TRIAL);
            [trial, known.left.map(|at| at + LINGERS), known.due_at()]
        });
        let changes = changes.chain([self.settling_until, self.early_until]).flatten();
        changes.filter(|at| *at > now).min()
    }

    /// All that are offered, those in use first, then the nearest.
    pub fn known(&self) -> Vec<KnownRelay> {
        let view = |relay: &Relay| {
            let known = self.known.get(&relay.id)?;
            Some(KnownRelay {
                relay: relay.clone(),
                role: self.role(&relay.id),
                rtt: known.rtt,
                failure: known.failure.clone(),
            })
        };
        let mut relays: Vec<KnownRelay> = self.offered.iter().filter_map(view).collect();
        relays.sort_by_key(|known| (known.role, known.rtt.is_none(), known.rtt));
        relays
    }

    fn role(&self, id: &RelayId) -> Role {
        let is_tried = |known: &Known| known.tried.is_some();
        match id {
            id if Some(id) == self.home.as_ref() => Role::Home,
            id if Some(id) == self.spare.as_ref() => Role::Spare,
            id if self.for_peers.contains(id) => Role::ForPeers,
            id if self.more_spares.contains(id) => Role::Spare,
            id if self.known.get(id).is_some_and(is_tried) => Role::Tried,
            _ => Role::Unused,
        }
    }

    fn in_use(&self) -> Vec<RelayId> {
        let own = self.home.iter().chain(&self.spare);
        own.chain(&self.for_peers).chain(&self.more_spares).cloned().collect()
    }

    fn more_spares(&self) -> Vec<RelayId> {
        let in_use: Vec<&RelayId> = self.home.iter().chain(&self.spare).chain(&self.for_peers).collect();
        let room = AT_FIRST.saturating_sub(in_use.len());
        let works = self.known.iter().filter(|(_, known)| known.failure.is_none());
        let others = works.filter(|(id, _)| self.early_until.is_some() && !in_use.contains(id));
        let mut others: Vec<(Duration, &RelayId)> = others.filter_map(|(id, known)| Some((known.rtt?, id))).collect();
        others.sort();
        others.into_iter().take(room).map(|(_, id)| id.clone()).collect()
    }

    fn offer(&self, id: &RelayId) -> Option<Relay> {
        self.offered.iter().find(|relay| relay.id == *id).cloned()
    }

    /// The best of all but `except`; those in use stay unless another is clearly better.
    fn best(&self, in_use: &[RelayId], except: Option<&RelayId>) -> Option<RelayId> {
        let is_settled = self.settling_until.is_none();
        let offered = self.offered.iter().filter(|relay| Some(&relay.id) != except);
        let contenders = offered.filter_map(|relay| {
            let known = self.known.get(&relay.id)?;
            let in_use = is_settled && in_use.contains(&relay.id);
            Some(Contender {
                id: &relay.id,
                footing: match (&known.failure, known.rtt) {
                    (Some(_), _) => Footing::Failed,
                    (None, Some(_)) => Footing::Measured,
                    (None, None) => Footing::Unmeasured,
                },
                cost: known.rtt.unwrap_or(UNMEASURED) + load_cost(relay.load, in_use),
                in_use,
                abroad: self.is_abroad(relay),
            })
        });
        let contenders: Vec<Contender<'_>> = contenders.collect();
        best(&contenders, self.device).cloned()
    }

    /// Those that were in use until just now.
    fn lingering(&self, now: Instant) -> Vec<RelayId> {
        let lingers = |known: &Known| {
            let serves = |failure: &Failure| failure.trouble == Trouble::Draining;
            let left = known.left.filter(|at| now < *at + LINGERS)?;
            known.failure.as_ref().is_none_or(serves).then_some(left)
        };
        let mut left: Vec<(Instant, &RelayId)> = Vec::new();
        left.extend(self.known.iter().filter_map(|(id, known)| Some((lingers(known)?, id))));
        left.sort_by(|a, b| b.cmp(a));
        left.into_iter().take(LINGERING).map(|(_, id)| id.clone()).collect()
    }

    /// Those that are being measured, with the next ones when there is room.
    fn tried(&mut self, now: Instant) -> Vec<RelayId> {
        let lingering = self.lingering(now);
        let is_due = |known: &Known| known.tried.is_none() && known.due_at().is_none_or(|at| at <= now);
        let mut due: Vec<&Relay> = Vec::new();
        let unused = self.offered.iter().filter(|relay| self.role(&relay.id) == Role::Unused);
        due.extend(
            unused.filter(|relay| !lingering.contains(&relay.id) && self.known.get(&relay.id).is_some_and(is_due)),
        );
        due.sort_by_cached_key(|relay| {
            let urgency = self.known.get(&relay.id).map(Known::urgency);
            (self.is_abroad(relay), urgency, spread(self.device, &relay.id))
        });
        let under_way = self.known.values().filter(|known| known.tried.is_some()).count();
        let next: Vec<RelayId> = due.iter().map(|relay| relay.id.clone()).collect();
        for id in next.into_iter().take(TRIED.saturating_sub(under_way)) {
            if let Some(known) = self.known.get_mut(&id) {
                known.tried = Some(now);
            }
        }
        let tried = self.known.iter().filter(|(_, known)| known.tried.is_some());
        tried.map(|(id, _)| id.clone()).collect()
    }

    /// Nobody says which region a PC is in: that of the relay nearest to it.
    fn is_abroad(&self, relay: &Relay) -> bool {
        let measured = self.offered.iter().filter_map(|relay| {
            let known = self.known.get(&relay.id)?;
            Some((known.rtt?, &relay.region))
        });
        measured.min().is_some_and(|(_, region)| *region != relay.region)
    }
}

#[cfg(test)]
mod tests;
