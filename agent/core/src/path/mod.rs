//! Which address of a peer its packets take, and how that is found out.
//!
//! A [`PeerPaths`] is one peer's machine. It probes the addresses the peer named (and the ones authentic probes came from)
//! until one answers: because both sides do so at the same time, each side's probes open its own NAT for the other's.
//! Answered addresses compete by round-trip time with hysteresis. The chosen path is probed once a second while traffic
//! flows, now and then while idle; one that goes silent for three seconds gives way to the next proven one, or to none.
//!
//! Nothing unsealed or replayed changes anything here, and an address is only probed when the peer itself named it.

mod candidate;
mod choice;
mod replay;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::pair::ProbeKey;
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::signal::{Candidate, CandidateKind, MAX_CANDIDATES};
use lanrage_shared::wire::probe::{Probe, ProbeKind};
use rand::RngCore;
use rand::rngs::StdRng;

use self::candidate::{CandidatePath, PUNCH_TIME};
use self::replay::ReplayFilter;
use crate::batch::Datagram;

/// A path is trusted this long after a probe or a packet proved it.
pub const TRUST: Duration = Duration::from_secs(3);
/// Answered probes from addresses the peer never named are limited to this many addresses at a time.
const MAX_OBSERVED: usize = 4;
/// New addresses of one peer that are probed within [`NEW_ADDRESSES_SPAN`]: two lists of all it may name. A member that
/// names others over and over would have us probe whomever it likes.
const MAX_NEW_ADDRESSES: usize = 2 * MAX_CANDIDATES;
const NEW_ADDRESSES_SPAN: Duration = Duration::from_secs(10);

/// Party time: what all members' clocks agree on, as told by the control server.
#[derive(Debug, Clone, Copy)]
pub struct PartyClock {
    base: Instant,
    base_ms: u64,
}

impl PartyClock {
    /// A clock that shows `ms` (Unix milliseconds of the server) at `at`.
    pub fn new(at: Instant, ms: u64) -> Self {
        Self { base: at, base_ms: ms }
    }

    /// The time at `now` in ms.
    pub fn ms(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.base).as_millis();
        self.base_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// What a peer's machine needs from its surroundings.
pub struct Context<'a> {
    pub now: Instant,
    pub clock: PartyClock,
    pub rng: &'a mut StdRng,
    /// Start of this agent's run in ms of party time.
    pub run: u64,
}

/// The path in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selected {
    pub address: SocketAddr,
    pub kind: CandidateKind,
    pub since: Instant,
    /// Smoothed round-trip time in ms.
    pub rtt_ms: Option<f64>,
}

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
    send: ProbeKey,
    receive: ProbeKey,
    counter: u64,
    replay: ReplayFilter,
    paths: BTreeMap<SocketAddr, CandidatePath>,
    selected: Option<(SocketAddr, Instant)>,
    search: Search,
    last_received: Option<Instant>,
    last_sent: Option<Instant>,
    /// When addresses were added lately.
    added: VecDeque<Instant>,
    transmits: VecDeque<Datagram>,
}

impl PeerPaths {
    /// A peer of whom no address is known.
    pub fn new(send: ProbeKey, receive: ProbeKey) -> Self {
        Self {
            send,
            receive,
            counter: 0,
            replay: ReplayFilter::default(),
            paths: BTreeMap::new(),
            selected: None,
            search: Search::Fresh,
            last_received: None,
            last_sent: None,
            added: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// The tag by which this peer's probes are found.
    pub fn receive_tag(&self) -> [u8; 4] {
        self.receive.tag
    }

    /// The path in use.
    pub fn selected(&self) -> Option<Selected> {
        let (address, since) = self.selected?;
        let path = self.paths.get(&address)?;
        Some(Selected {
            address,
            kind: path.kind,
            since,
            rtt_ms: path.rtt_ms,
        })
    }

    /// Addresses that answered, the one in use first: worth trying first after a restart.
    pub fn proven(&self) -> Vec<SocketAddr> {
        let mut proven: Vec<&CandidatePath> = self.paths.values().filter(|path| path.last_answer.is_some()).collect();
        proven.sort_by_key(|path| {
            (
                self.selected.is_none_or(|(address, _)| address != path.address),
                path.kind,
            )
        });
        proven.iter().map(|path| path.address).collect()
    }

    /// Whether the first attempt to find a path is still going on.
    pub fn is_first_attempt(&self) -> bool {
        self.selected.is_none()
            && self.search != Search::Unanswered
            && self.paths.values().any(|path| path.due().is_some())
    }

    /// The peer is back after it was away: what was tried before says nothing any more.
    pub fn search_afresh(&mut self) {
        self.search = Search::Fresh;
    }

    /// The peer named its addresses (or they are remembered from before): probe them all, now.
    pub fn handle_candidates(&mut self, candidates: &[Candidate], now: Instant) {
        if self.search == Search::Fresh && !candidates.is_empty() {
            self.search = Search::Since(now);
        }
        for candidate in candidates.iter().take(MAX_CANDIDATES) {
            match self.paths.get_mut(&candidate.address) {
                Some(path) => {
                    path.kind = path.kind.min(candidate.kind);
                    if !path.answered_within(TRUST, now) {
                        path.punch_again(now);
                    }
                }
                None => self.add(candidate.kind, candidate.address, now),
            }
        }
    }

    /// An authentic WireGuard packet came from here while no path was in use: worth a probe.
    pub fn handle_spoke_from(&mut self, address: SocketAddr, now: Instant) {
        self.observe(address, now);
    }

    fn add(&mut self, kind: CandidateKind, address: SocketAddr, now: Instant) {
        self.added.retain(|at| now < *at + NEW_ADDRESSES_SPAN);
        if self.added.len() >= MAX_NEW_ADDRESSES {
            return;
        }
        self.added.push_back(now);
        if self.paths.len() >= MAX_CANDIDATES + MAX_OBSERVED {
            let selected = self.selected.map(|(address, _)| address);
            let oldest = self
                .paths
                .values()
                .filter(|path| Some(path.address) != selected)
                .min_by_key(|path| path.last_answer)
                .map(|path| path.address);
            if let Some(oldest) = oldest {
                self.paths.remove(&oldest);
            }
        }
        self.paths.insert(address, CandidatePath::new(kind, address, now));
    }

    fn observe(&mut self, address: SocketAddr, now: Instant) {
        if let Some(path) = self.paths.get_mut(&address) {
            if path.last_answer.is_none() {
                path.probe_by(now);
            }
            return;
        }
        let observed = self
            .paths
            .values()
            .filter(|path| path.kind == CandidateKind::Observed && path.last_answer.is_none());
        if observed.count() < MAX_OBSERVED {
            self.add(CandidateKind::Observed, address, now);
        }
    }

    /// Takes a datagram that carries this peer's tag. Gives false when it is forged, replayed or out of date.
    pub fn handle_probe(&mut self, from: SocketAddr, datagram: &[u8], cx: &mut Context<'_>) -> bool {
        let Ok(probe) = Probe::open(datagram, &self.receive) else {
            return false;
        };
        if !self
            .replay
            .accept(probe.run, probe.counter, probe.sent_ms, cx.clock.ms(cx.now))
        {
            return false;
        }
        match probe.kind {
            ProbeKind::Ping => {
                self.transmit(ProbeKind::Pong, from, probe.transaction, cx);
                self.observe(from, cx.now);
                if self.selected.is_some_and(|(address, _)| address == from) {
                    self.last_received = Some(cx.now);
                }
            }
            ProbeKind::Pong => {
                let answered = self
                    .paths
                    .get_mut(&from)
                    .is_some_and(|path| path.answered(probe.transaction, cx.now));
                if answered {
                    self.select(cx.now);
                }
            }
        }
        true
    }

    /// Somebody says that the peer is gone: the path in use is asked at once, however lately it was proven.
    pub fn handle_doubt(&mut self, now: Instant) {
        let selected = self.selected.and_then(|(address, _)| self.paths.get_mut(&address));
        if let Some(path) = selected {
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
        self.keep_up(cx.now);
        let due: Vec<SocketAddr> = self
            .paths
            .values()
            .filter(|path| path.due().is_some_and(|at| at <= cx.now))
            .map(|path| path.address)
            .collect();
        for address in due {
            let transaction = cx.rng.next_u64();
            self.transmit(ProbeKind::Ping, address, transaction, cx);
            if let Some(path) = self.paths.get_mut(&address) {
                path.sent(transaction, cx.now);
            }
        }
        let selected = self.selected.map(|(address, _)| address);
        self.paths
            .retain(|address, path| Some(*address) == selected || !path.is_spent(cx.now));
        self.select(cx.now);
        match self.search {
            _ if self.selected.is_some() => self.search = Search::Fresh,
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
        [probe, keep, silence].into_iter().flatten().min()
    }

    /// Datagrams to send.
    pub fn poll_transmit(&mut self) -> Option<Datagram> {
        self.transmits.pop_front()
    }

    fn transmit(&mut self, kind: ProbeKind, to: SocketAddr, transaction: u64, cx: &mut Context<'_>) {
        self.counter += 1;
        let probe = Probe {
            kind,
            in_use: self.selected.is_some_and(|(address, _)| address == to),
            transaction,
            run: cx.run,
            counter: self.counter,
            sent_ms: cx.clock.ms(cx.now),
            observed: (kind == ProbeKind::Pong).then_some(to),
        };
        let mut nonce = [0; NONCE_LEN];
        cx.rng.fill_bytes(&mut nonce);
        self.transmits.push_back(Datagram {
            peer: to,
            data: probe.seal(&self.send, nonce).as_slice().into(),
        });
    }
}

#[cfg(test)]
mod tests;
