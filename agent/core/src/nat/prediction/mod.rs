//! Ways through a symmetric NAT to a strict one, by guessing its ports (RFC 5128 §3.5).
//!
//! A NAT that gives every destination another port cannot say where it is to be reached, and one that lets only exact
//! addresses in has to be told. The *hard* side, behind the first, looks how its NAT gives ports out: from a fresh socket it
//! asks a STUN server, sends to the peer, and asks the server's other port, all at once. Where ports are given out in a row, the
//! one towards the peer lies between the two the server saw. The *easy* side is told these few and sends to each of them. Where
//! ports are drawn at random, or the guess was wrong, both sides send from and to many ports until two of them meet: of 64,512
//! ports 480 on each side meet with a probability of 97 %.
//!
//! To a router this looks like a scan, so there is a budget for the mappings it costs, an end after ten seconds, and a longer
//! pause after every failure. All that comes of it is that an authentic probe arrives from somewhere; the peer's paths take it
//! from there.

mod budget;
mod easy;
mod hard;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::ids::MemberId;
use lanrage_shared::signal::PortGuess;
use rand::RngCore;

use self::budget::Budget;
use self::easy::EasySide;
use self::hard::HardSide;
use super::StunEndpoint;
use crate::batch::{Packet, Route, SideNumber};

/// An attempt ends this long after its guess.
pub const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// Between two handfuls of ports when any port may be the one.
const HANDFUL_PAUSE: Duration = Duration::from_millis(100);
/// Ports in a handful: as many as the budget gives in [`HANDFUL_PAUSE`], rounded up.
const HANDFUL: usize = 5;
/// Between two tries of the same ports.
const REPEAT: Duration = Duration::from_millis(500);

/// What to send. The order matters: ports are given out in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// To a STUN server.
    Question(Packet),
    /// A probe to a member.
    Probe { member: MemberId, route: Route },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a guess for this member to be told of.
    Guessed(MemberId),
    /// These sockets carried an attempt that is over.
    Over(Vec<SideNumber>),
}

/// Both sides of port prediction, for all peers of one agent: as the hard side it makes one attempt at a time.
#[derive(Debug, Default)]
pub struct PortPrediction {
    hard: HardSide,
    easy: EasySide,
    budget: Budget,
    out: Out,
}

/// What is to be sent and told.
#[derive(Debug, Default)]
struct Out {
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl PortPrediction {
    /// The STUN servers there are; the first one of IPv4 is asked.
    pub fn handle_servers(&mut self, servers: &[StunEndpoint]) {
        self.hard.handle_servers(servers);
    }

    /// The peers that nothing but a guess of ours leads to, each with its public address.
    pub fn handle_wanted(&mut self, wanted: BTreeMap<MemberId, SocketAddr>, now: Instant) {
        self.hard.handle_wanted(wanted, &mut self.out, now);
    }

    /// A peer guesses where its NAT would let us in.
    pub fn handle_guess(&mut self, from: MemberId, guess: PortGuess, now: Instant) {
        self.easy.handle_guess(from, guess, now);
    }

    /// The peers that there is a direct way to.
    pub fn handle_direct(&mut self, members: &BTreeSet<MemberId>, now: Instant) {
        self.hard.handle_direct(members, now);
        for member in members {
            self.easy.handle_settled(*member);
        }
    }

    /// A peer is none any more.
    pub fn handle_left(&mut self, member: MemberId) {
        self.hard.handle_moved(member);
        self.easy.handle_settled(member);
    }

    /// What was tried with a peer before says nothing any more: it, or this PC, is somewhere else.
    pub fn handle_moved(&mut self, member: MemberId) {
        self.hard.handle_moved(member);
        self.easy.handle_moved(member);
    }

    /// Takes a datagram from a side socket. True when it was a STUN server's answer to a question of ours.
    pub fn handle_datagram(&mut self, from: Route, bytes: &[u8], now: Instant) -> bool {
        self.hard.handle_datagram(from, bytes, &mut self.out, now)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, rng: &mut dyn RngCore, now: Instant) {
        self.hard.handle_timeout(&mut self.budget, &mut self.out, rng, now);
        self.easy.handle_timeout(&mut self.budget, &mut self.out, rng, now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let hard = self.hard.next().map(|at| (at, "guess ports"));
        let easy = self.easy.next().map(|at| (at, "try guessed ports"));
        [hard, easy].into_iter().flatten().min()
    }

    /// The next thing to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// What a peer is to be told.
    pub fn guess(&self, member: MemberId) -> Option<PortGuess> {
        self.hard.guess(member)
    }

    /// Whether a way to the peer is being guessed.
    pub fn is_trying(&self, member: MemberId) -> bool {
        self.hard.is_trying(member) || self.easy.is_trying(member)
    }
}
