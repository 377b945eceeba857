//! The questions under way, and from which socket each goes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use lanrage_shared::wire::stun::ChangeRequest;
use rand::RngCore;

use super::message::{self, TRANSACTION_MASK, TransactionId};
use super::{Socket, Transmit};

/// Most questions under way; the oldest is forgotten. One measurement asks at most about 110.
const MAX_QUESTIONS: usize = 128;

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

/// Questions under way and the side socket.
#[derive(Debug, Default)]
pub(super) struct Questions {
    under_way: BTreeMap<TransactionId, Question>,
    order: VecDeque<TransactionId>,
    /// The side socket's number, and the one address it may send to.
    side: (u32, Option<SocketAddr>),
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
        let from = match asks {
            Asks::Plain => Socket::Main,
            Asks::ChangePort | Asks::ChangeBoth => self.side_for(to),
        };
        let bytes = message::request(id, asks.change());
        self.transmits.push_back(Transmit { from, to, bytes });
    }

    /// A side socket that sent nowhere but to `to`.
    fn side_for(&mut self, to: SocketAddr) -> Socket {
        if self.side.1.is_some_and(|before| before != to) {
            self.renew_side();
        }
        self.side.1 = Some(to);
        Socket::Side(self.side.0)
    }

    /// The next filtering test begins with a fresh socket.
    pub(super) fn renew_side(&mut self) {
        self.side = (self.side.0.wrapping_add(1), None);
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

    /// Plain questions to `to` since `since` without an answer.
    pub(super) fn unanswered(&self, to: SocketAddr, since: Instant) -> usize {
        let open = self.under_way.values();
        open.filter(|question| question.to == to && question.asks == Asks::Plain && question.sent >= since)
            .count()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }
}
