//! Which route to a peer its packets take, and how that is found out.
//!
//! A [`PeerPaths`] is one peer's machine. It probes the addresses the peer named (and the ones authentic probes came from)
//! until one answers: because both sides do so at the same time, each side's probes open its own NAT for the other's.
//! Answered addresses compete by round-trip time with hysteresis. The chosen path is probed once a second while traffic
//! flows, now and then while idle; one that goes silent for three seconds gives way to the next proven one, or to none. While
//! there is none, all that there were are asked about once a second.
//!
//! A relay that both have a session with is a route like any other, only that it needs no proof to be used: packets flow over
//! it from the first moment, and as soon as a direct path is proven they take that. When the path in use does not answer,
//! packets take the next best as well until it is decided.
//!
//! Nothing unsealed or replayed changes anything here, and an address is only probed when the peer itself named it.

mod candidate;
mod choice;
mod failures;
mod keepalive;
mod pongs;
mod probes;
mod quality;
mod replay;
mod seeking;
mod terms;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lanrage_shared::signal::{Candidate, CandidateKind, MAX_CANDIDATES};
use lanrage_shared::wire::probe::ProbeKind;
use rand::RngCore;

use self::candidate::{CandidatePath, PUNCH_TIME};
pub use self::keepalive::Counts as KeepaliveCounts;
use self::keepalive::Keepalive;
use self::pongs::Pongs;
use self::probes::Generation;
pub use self::probes::ProbeKeys;
pub use self::quality::{Meter, Quality, Trend};
use self::replay::ReplayFilter;
pub use self::terms::{Context, LeftForRelay, PartyClock, PathKind, RelayRoute, Selected};
use crate::batch::{Packet, RelayNumber, Route, SideNumber};
use crate::cache::Proven;

/// A path is trusted this long after a probe or a packet proved it.
pub const TRUST: Duration = Duration::from_secs(3);
/// Answered probes from addresses the peer never named are limited to this many addresses at a time.
const MAX_OBSERVED: usize = 4;
/// Addresses the peer never named that are probed within [`OBSERVED_SPAN`] while none of them answers. Between two NATs that use
/// another port for every destination each probe is seen at a new address, and trying all of them would never end.
const MAX_OBSERVED_IN_VAIN: usize = 8;
const OBSERVED_SPAN: Duration = Duration::from_secs(480);
/// New addresses of one peer that are probed within [`NEW_ADDRESSES_SPAN`]: two lists of all it may name. A member that
/// names others over and over would have us probe whomever it likes.
const MAX_NEW_ADDRESSES: usize = 2 * MAX_CANDIDATES;
const NEW_ADDRESSES_SPAN: Duration = Duration::from_secs(10);

/// A direct path that answered within this works, as far as is known: those that are not in use are asked three times a minute.
const DIRECT_MEMORY: Duration = Duration::from_secs(60);

/// How long a peer without a path has been looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Nothing was probed yet.
    Fresh,
    Since(Instant),
    /// One whole punch brought no answer. It goes on being tried.
    Unanswered,
}

/// One peer's addresses and which of them is in use.
pub struct PeerPaths {
    keys: ProbeKeys,
    /// Those of before, until the peer shows that it has the new ones.
    old_keys: Option<ProbeKeys>,
    counter: u64,
    replay: ReplayFilter,
    paths: BTreeMap<Route, CandidatePath>,
    selected: Option<(Route, Instant)>,
    also: Option<Route>,
    search: Search,
    last_received: Option<Instant>,
    last_sent: Option<Instant>,
    keepalive: Keepalive,
    /// The silence of the path in use has another reason than a lost mapping: the peer is said to be gone.
    doubted: bool,
    /// The control server says that the peer does not reach it.
    away: bool,
    /// Answers to addresses that are not proven.
    pongs: Pongs,
    /// When addresses were added lately.
    added: VecDeque<Instant>,
    /// When addresses it never named were added lately, since one of them answered.
    in_vain: VecDeque<Instant>,
    transmits: VecDeque<Packet>,
}

impl PeerPaths {
    /// A peer of whom no address is known.
    pub fn new(keys: ProbeKeys) -> Self {
        Self {
            keys,
            old_keys: None,
            counter: 0,
            replay: ReplayFilter::default(),
            paths: BTreeMap::new(),
            selected: None,
            also: None,
            search: Search::Fresh,
            last_received: None,
            last_sent: None,
            keepalive: Keepalive::default(),
            doubted: false,
            away: false,
            pongs: Pongs::default(),
            added: VecDeque::new(),
            in_vain: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// The path in use.
    pub fn selected(&self) -> Option<Selected> {
        let (route, since) = self.selected?;
        let path = self.paths.get(&route)?;
        Some(Selected {
            route,
            kind: path.kind,
            since,
            rtt_ms: path.rtt_ms(),
            quality: path.quality(),
            also: self.also,
        })
    }

    /// Addresses that answered, the one in use first: worth trying first after a restart.
    pub fn proven(&self) -> Vec<Proven> {
        let mut proven: Vec<&CandidatePath> = self.paths.values().filter(|path| path.last_answer.is_some()).collect();
        proven.sort_by_key(|path| (self.selected.is_none_or(|(route, _)| route != path.route), path.kind));
        // A side socket is gone with this run, and with it the way through its NAT.
        let lasting = proven.iter().filter(|path| path.route.side().is_none());
        lasting.filter_map(|path| path.proven()).collect()
    }

    /// Whether a way to the peer without a relay is known to work, in use or not.
    pub fn knows_direct_way(&self, now: Instant) -> bool {
        self.paths
            .values()
            .any(|path| path.kind != PathKind::Relay && path.answered_within(DIRECT_MEMORY, now))
    }

    /// Whether a way to the peer that answered begins at this socket.
    pub fn uses(&self, socket: SideNumber) -> bool {
        self.paths
            .values()
            .any(|path| path.route.side() == Some(socket) && path.last_answer.is_some())
    }

    /// Whether the first attempt to find a direct path is still going on, or has yet to begin.
    pub fn is_first_attempt(&self) -> bool {
        let is_tried = |path: &CandidatePath| path.kind != PathKind::Relay && path.due().is_some();
        !self.has_direct_path()
            && match self.search {
                Search::Fresh => true,
                Search::Since(_) => self.paths.values().any(is_tried),
                Search::Unanswered => false,
            }
    }

    /// The peer is back after it was away: what was tried before says nothing any more.
    pub fn search_afresh(&mut self) {
        self.search = Search::Fresh;
        self.doubted = false;
        self.handle_network_change();
    }

    /// Another network on one of the two sides: every path gets another chance.
    pub fn handle_network_change(&mut self) {
        self.paths.values_mut().for_each(CandidatePath::forgive);
    }

    /// A game asks for keepalives with a pause of its own (none: no more).
    pub fn handle_game(&mut self, pause: Option<Duration>) {
        self.keepalive.handle_game(pause);
    }

    /// What keeping the path open costs: the pause between keepalives, and how many there were behind each kind of NAT.
    pub fn keepalive(&self) -> (Duration, &BTreeMap<&'static str, KeepaliveCounts>) {
        (self.keepalive.pause(), self.keepalive.counts())
    }

    /// The peer named its addresses (or they are remembered from before): probe them all, now.
    pub fn handle_candidates(&mut self, candidates: &[Candidate], now: Instant) {
        if self.search == Search::Fresh && !candidates.is_empty() {
            self.search = Search::Since(now);
        }
        let selected = self.selected.map(|(route, _)| route);
        self.paths.retain(|route, path| {
            let named = candidates
                .iter()
                .any(|candidate| Route::from(candidate.address) == *route);
            let is_unnamed = !matches!(path.kind, PathKind::Direct(kind) if kind != CandidateKind::Observed);
            named || is_unnamed || Some(*route) == selected || !path.is_spent(now)
        });
        for candidate in candidates.iter().take(MAX_CANDIDATES) {
            let (kind, route) = (PathKind::Direct(candidate.kind), Route::from(candidate.address));
            match self.paths.get_mut(&route) {
                Some(path) => {
                    path.kind = path.kind.min(kind);
                    let is_let_be = self.selected.is_some() && path.is_let_be(now);
                    if !path.answered_within(TRUST, now) && !is_let_be {
                        path.punch_again(now);
                    }
                }
                None => self.add(kind, route, now),
            }
        }
    }

    /// An authentic WireGuard packet came from here while no path was in use: worth a probe.
    pub fn handle_spoke_from(&mut self, route: Route, now: Instant) {
        self.observe(route, now);
    }

    /// The relays that both sides have a session with, as routes to the peer. What is not named, and does not answer, is no way
    /// to the peer any more.
    pub fn handle_relays(&mut self, relays: &[RelayRoute], now: Instant) {
        self.paths.retain(|route, path| {
            path.kind != PathKind::Relay
                || path.answered_within(TRUST, now)
                || relays.iter().any(|named| named.route == *route)
        });
        for named in relays {
            let path = self
                .paths
                .entry(named.route)
                .and_modify(|path| path.expect(named.rtt_ms))
                .or_insert_with(|| CandidatePath::expected(PathKind::Relay, named.route, named.rtt_ms, now));
            path.load_ms = named.load_ms;
        }
        self.select(now);
    }

    /// This agent's own session with the relay is over.
    pub fn handle_relay_lost(&mut self, relay: RelayNumber, now: Instant) {
        self.paths.retain(|route, _| route.relay() != Some(relay));
        self.select(now);
    }

    /// The relay says that the peer has no session with it.
    pub fn handle_undelivered(&mut self, relay: RelayNumber, now: Instant) {
        let through = self.paths.values_mut().find(|path| path.route.relay() == Some(relay));
        let Some(path) = through else { return };
        path.refuse();
        if path.is_expected_to_work() {
            path.handle_left(now);
            path.distrust(now);
            let route = path.route;
            self.selected.take_if(|(selected, _)| *selected == route);
            self.select(now);
        }
    }

    /// Whether packets go to the peer without a relay.
    pub fn has_direct_path(&self) -> bool {
        self.selected.is_some_and(|(route, _)| route.address().is_some())
    }

    fn add(&mut self, kind: PathKind, route: Route, now: Instant) {
        self.added.retain(|at| now < *at + NEW_ADDRESSES_SPAN);
        if self.added.len() >= MAX_NEW_ADDRESSES {
            return;
        }
        self.added.push_back(now);
        if self.paths.len() >= MAX_CANDIDATES + MAX_OBSERVED {
            let selected = self.selected.map(|(route, _)| route);
            let oldest = self
                .paths
                .values()
                .filter(|path| Some(path.route) != selected && path.kind != PathKind::Relay)
                .min_by_key(|path| (path.last_answer, path.worked_at()))
                .map(|path| path.route);
            if let Some(oldest) = oldest {
                self.paths.remove(&oldest);
            }
        }
        self.paths.insert(route, CandidatePath::new(kind, route, now));
    }

    fn observe(&mut self, route: Route, now: Instant) {
        if let Some(path) = self.paths.get_mut(&route) {
            if path.last_answer.is_none() {
                path.probe_by(now);
            }
            return;
        }
        let is_tried = |path: &&CandidatePath| {
            path.kind == PathKind::Direct(CandidateKind::Observed) && path.worked_at().is_none()
        };
        let observed = self.paths.values().filter(is_tried).count();
        match route {
            // It came through a session of ours, and there are few of those.
            Route::Relay { .. } => {
                self.paths
                    .insert(route, CandidatePath::new(PathKind::Relay, route, now));
            }
            Route::Direct(_) | Route::Side { .. } if observed < MAX_OBSERVED => {
                self.in_vain.retain(|at| now < *at + OBSERVED_SPAN);
                if self.in_vain.len() < MAX_OBSERVED_IN_VAIN {
                    self.in_vain.push_back(now);
                    self.add(PathKind::Direct(CandidateKind::Observed), route, now);
                }
            }
            Route::Direct(_) | Route::Side { .. } => {}
        }
    }

    /// Somebody says that the peer is gone: the path in use is asked at once, however lately it was proven.
    pub fn handle_doubt(&mut self, now: Instant) {
        let selected = self.selected.and_then(|(route, _)| self.paths.get_mut(&route));
        if let Some(path) = selected {
            self.doubted = true;
            path.probe_by(now);
        }
    }

    /// Tells when packets were last sent to the peer and received on the path in use.
    pub fn handle_traffic(&mut self, sent: Option<Instant>, received: Option<Instant>) {
        self.last_sent = self.last_sent.max(sent);
        if self
            .selected
            .is_some_and(|(_, since)| received.is_some_and(|at| at >= since))
        {
            self.last_received = self.last_received.max(received);
        }
    }

    /// Sends what is due and lets go of what is silent.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.keepalive.handle_nat(cx.nat);
        self.keep_up(cx.now);
        let due: Vec<Route> = self
            .paths
            .values()
            .filter(|path| path.due().is_some_and(|at| at <= cx.now))
            .map(|path| path.route)
            .collect();
        for route in due {
            let transaction = cx.rng.next_u64();
            // In turn, until the peer answers with the new ones.
            let unanswered = self.paths.get(&route).map_or(0, CandidatePath::unanswered);
            let generation = if unanswered % 2 == 1 {
                Generation::Old
            } else {
                Generation::New
            };
            self.transmit(ProbeKind::Ping, route, transaction, generation, cx);
            if let Some(path) = self.paths.get_mut(&route) {
                path.sent(transaction, cx.now);
            }
        }
        let selected = self.selected.map(|(route, _)| route);
        self.paths.retain(|route, path| {
            let is_kept = (selected.is_none() || path.is_failing(cx.now)) && path.is_worth_seeking(cx.now);
            Some(*route) == selected || path.kind == PathKind::Relay || is_kept || !path.is_spent(cx.now)
        });
        self.select(cx.now);
        match self.search {
            _ if self.has_direct_path() => self.search = Search::Fresh,
            Search::Since(start) if start + PUNCH_TIME <= cx.now => self.search = Search::Unanswered,
            Search::Fresh | Search::Since(_) | Search::Unanswered => {}
        }
    }

    /// When [`PeerPaths::handle_timeout`] wants to run next, and why.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let probe = self
            .paths
            .values()
            .filter_map(CandidatePath::due)
            .min()
            .map(|at| (at, "probe"));
        let keep = self
            .paths
            .values()
            .filter_map(|path| self.next_keep_up(path, now))
            .min()
            .map(|at| (at, "keep path"));
        let silence = self.silence_deadline().map(|at| (at, "path silent"));
        let doubt = self.doubt_at().filter(|at| *at > now).map(|at| (at, "path in doubt"));
        [probe, keep, silence, doubt].into_iter().flatten().min()
    }

    /// Datagrams to send.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        self.transmits.pop_front()
    }
}

#[cfg(test)]
mod tests;
