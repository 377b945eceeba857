//! Probes: sealed, opened, answered, with the keys of the party's secret and, for a while, of the one before.

use std::time::Instant;

use lanrage_shared::pair::{PairKeys, ProbeKey};
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::signal::CandidateKind;
use lanrage_shared::wire::probe::{Probe, ProbeKind};
use rand::RngCore;

use super::choice::{is_in_doubt, is_kept_open};
use super::{Context, PathKind, PeerPaths};
use crate::batch::{Packet, Route};

/// What a pair seals its probes with.
#[derive(Clone)]
pub struct ProbeKeys {
    pub send: ProbeKey,
    pub receive: ProbeKey,
}

impl ProbeKeys {
    /// Of a pair.
    pub fn of(keys: &PairKeys) -> Self {
        Self {
            send: keys.probe_send.clone(),
            receive: keys.probe_receive.clone(),
        }
    }
}

/// Which of two sets of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    New,
    Old,
}

impl PeerPaths {
    /// The tags by which this peer's probes are found.
    pub fn receive_tags(&self) -> impl Iterator<Item = [u8; 4]> + '_ {
        [Some(&self.keys), self.old_keys.as_ref()]
            .into_iter()
            .flatten()
            .map(|keys| keys.receive.tag)
    }

    /// The party has a new secret. The peer may not know it yet: the old keys go on until it shows that it does.
    pub fn rekey(&mut self, keys: ProbeKeys) {
        let before = std::mem::replace(&mut self.keys, keys);
        self.old_keys.get_or_insert(before);
    }

    /// Whether the peer has shown that it has the newest keys.
    pub fn is_rekeyed(&self) -> bool {
        self.old_keys.is_none()
    }

    /// Takes a datagram that carries this peer's tag. Gives false when it is forged, replayed or out of date.
    pub fn handle_probe(&mut self, from: Route, datagram: &[u8], cx: &mut Context<'_>) -> bool {
        let Some((probe, generation)) = self.open(datagram) else {
            return false;
        };
        if !self
            .replay
            .accept(probe.run, probe.counter, probe.sent_ms, cx.clock.ms(cx.now))
        {
            return false;
        }
        if generation == Generation::New {
            self.old_keys = None;
        }
        match probe.kind {
            ProbeKind::Ping => {
                if self.may_answer(from, cx.now) {
                    self.transmit(ProbeKind::Pong, from, probe.transaction, generation, cx);
                }
                self.observe(from, cx.now);
                if self.selected.is_some_and(|(route, _)| route == from) {
                    self.last_received = Some(cx.now);
                }
            }
            ProbeKind::Pong => {
                let at_once = !self.paths.get(&from).is_some_and(|path| is_in_doubt(path, cx.now));
                let answered = self
                    .paths
                    .get_mut(&from)
                    .is_some_and(|path| path.answered(probe.transaction, cx.now));
                if answered {
                    let kind = self.paths.get(&from).map(|path| path.kind);
                    if kind == Some(PathKind::Direct(CandidateKind::Observed)) {
                        self.in_vain.clear();
                    }
                    if from.address().is_some() {
                        self.keepalive.handle_answer(cx.now);
                    }
                    if self.selected.is_some_and(|(route, _)| route == from) {
                        if at_once && !self.is_active(cx.now) && is_kept_open(&self.keepalive, from) {
                            self.keepalive.handle_kept();
                        }
                        self.doubted = false;
                    }
                    self.select(cx.now);
                }
            }
        }
        true
    }

    /// Whether a probe's source may be answered to: always where the peer is known to be, else not too often.
    fn may_answer(&mut self, from: Route, now: Instant) -> bool {
        let is_proven = self.paths.get(&from).is_some_and(|path| path.last_answer.is_some());
        is_proven || from.address().is_none_or(|address| self.pongs.allow(address, now))
    }

    fn open(&self, datagram: &[u8]) -> Option<(Probe, Generation)> {
        let opened = |keys: &ProbeKeys| Probe::open(datagram, &keys.receive).ok();
        let new = opened(&self.keys).map(|probe| (probe, Generation::New));
        new.or_else(|| Some((self.old_keys.as_ref().and_then(opened)?, Generation::Old)))
    }

    /// A probe for where the peer may be heard, and nothing more: what comes of it shows in the peer's own probes. None for a
    /// route that is being probed anyway.
    pub fn probe_for(&mut self, route: Route, cx: &mut Context<'_>) -> Option<Packet> {
        if self.paths.contains_key(&route) {
            return None;
        }
        let transaction = cx.rng.next_u64();
        // The old keys, while there are any, are those that the peer has in any case.
        Some(self.sealed(ProbeKind::Ping, route, transaction, Generation::Old, cx))
    }

    pub(super) fn transmit(
        &mut self,
        kind: ProbeKind,
        to: Route,
        transaction: u64,
        generation: Generation,
        cx: &mut Context<'_>,
    ) {
        let packet = self.sealed(kind, to, transaction, generation, cx);
        self.transmits.push_back(packet);
    }

    fn sealed(
        &mut self,
        kind: ProbeKind,
        to: Route,
        transaction: u64,
        generation: Generation,
        cx: &mut Context<'_>,
    ) -> Packet {
        self.counter += 1;
        let probe = Probe {
            kind,
            in_use: self.selected.is_some_and(|(route, _)| route == to),
            transaction,
            run: cx.run,
            counter: self.counter,
            sent_ms: cx.clock.ms(cx.now),
            observed: to.address().filter(|_| kind == ProbeKind::Pong),
        };
        let mut nonce = [0; NONCE_LEN];
        cx.rng.fill_bytes(&mut nonce);
        let keys = match (&self.old_keys, generation) {
            (Some(old), Generation::Old) => old,
            _ => &self.keys,
        };
        Packet {
            peer: to,
            data: probe.seal(&keys.send, nonce).as_slice().into(),
        }
    }
}
