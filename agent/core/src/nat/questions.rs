//! The questions under way, and where packets have been sent lately.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanrage_shared::wire::stun::ChangeRequest;
use rand::RngCore;

use super::Transmit;
use super::message::{self, TRANSACTION_MASK, TransactionId};

/// Most questions under way; the oldest is forgotten. One measurement asks at most about 110.
const MAX_QUESTIONS: usize = 128;
/// How long a NAT may let packets in after one was sent out. RFC 4787 REQ-5 asks for 2 minutes or more; 5 are common.
const FILTER_MEMORY: Duration = Duration::from_secs(300);
/// Most addresses remembered as sent to; a survey sends to at most a dozen.
const MAX_CONTACTED: usize = 64;

/// Where the answer is asked to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// From where the request is sent.
    Plain,
    /// From another port.
    ChangePort,
    /// From another address and port.
    ChangeBoth,
}

impl Asks {
    fn change(self) -> ChangeRequest {
        ChangeRequest {
            address: self == Self::ChangeBoth,
            port: self != Self::Plain,
        }
    }
}

/// A question under way. Every attempt is a question of its own, so that its round trip and its loss can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) to: SocketAddr,
    pub(super) asks: Asks,
    pub(super) sent: Instant,
}

/// Questions under way and the memory of where packets went.
#[derive(Debug, Default)]
pub(super) struct Questions {
    under_way: BTreeMap<TransactionId, Question>,
    order: VecDeque<TransactionId>,
    contacted: BTreeMap<SocketAddr, Instant>,
    transmits: VecDeque<Transmit>,
}

impl Questions {
    pub(super) fn ask(&mut self, to: SocketAddr, asks: Asks, rng: &mut dyn RngCore, now: Instant) {
        let id = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & TRANSACTION_MASK;
        self.under_way.insert(id, Question { to, asks, sent: now });
        self.order.push_back(id);
        if self.order.len() > MAX_QUESTIONS {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.under_way.remove(&oldest));
        }
        self.remember(to, now);
        let bytes = message::request(id, asks.change());
        self.transmits.push_back(Transmit { to, bytes });
    }

    fn remember(&mut self, to: SocketAddr, now: Instant) {
        self.contacted.insert(to, now);
        if self.contacted.len() > MAX_CONTACTED {
            let oldest = self.contacted.iter().min_by_key(|(_, sent)| **sent).map(|(to, _)| *to);
            oldest.and_then(|oldest| self.contacted.remove(&oldest));
        }
    }

    pub(super) fn find(&self, id: TransactionId) -> Option<Question> {
        self.under_way.get(&id).copied()
    }

    /// The question is answered; another answer to it is none.
    pub(super) fn close(&mut self, id: TransactionId) {
        self.under_way.remove(&id);
        self.order.retain(|other| *other != id);
    }

    /// Forgets every question, so that late answers say nothing about the next measurement.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
        self.order.clear();
    }

    /// Forgets where packets went: behind another NAT it does not matter.
    pub(super) fn forget_contacts(&mut self) {
        self.contacted.clear();
    }

    /// Plain questions to `to` since `since` without an answer.
    pub(super) fn unanswered(&self, to: SocketAddr, since: Instant) -> usize {
        let open = self.under_way.values();
        open.filter(|question| question.to == to && question.asks == Asks::Plain && question.sent >= since)
            .count()
    }

    /// Whether a NAT may remember a packet to this address and port.
    pub(super) fn has_contacted(&self, to: SocketAddr, now: Instant) -> bool {
        self.contacted.get(&to).is_some_and(|sent| now < *sent + FILTER_MEMORY)
    }

    /// Whether a NAT may remember a packet to any port of this address.
    pub(super) fn has_contacted_address(&self, to: IpAddr, now: Instant) -> bool {
        let mut contacted = self.contacted.iter();
        contacted.any(|(other, sent)| other.ip() == to && now < *sent + FILTER_MEMORY)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }
}
