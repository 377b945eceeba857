//! The side whose own address is known: it sends where the other side guesses it would be let in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::ids::MemberId;
use lanrage_shared::signal::PortGuess;
use rand::{Rng, RngCore};

use super::budget::Budget;
use super::{ATTEMPT_TIME, HANDFUL, HANDFUL_PAUSE, Out, REPEAT, Transmit};
use crate::batch::Route;

/// Guesses of one member that are tried within [`GUESSES_SPAN`]: one that guesses over and over would have us probe whomever it
/// likes, and one that has just restarted may guess again.
const MAX_GUESSES: usize = 4;
const GUESSES_SPAN: Duration = Duration::from_secs(60);
/// What routers draw ports from.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=u16::MAX;

#[derive(Debug, Default)]
pub(super) struct EasySide {
    answering: BTreeMap<MemberId, Answering>,
    /// The guesses of each member that were tried lately, and since when.
    answered: BTreeMap<MemberId, Vec<(u32, Instant)>>,
}

#[derive(Debug)]
struct Answering {
    guess: PortGuess,
    until: Instant,
    next: Instant,
    tried: BTreeSet<u16>,
}

impl EasySide {
    pub(super) fn handle_guess(&mut self, from: MemberId, guess: PortGuess, now: Instant) {
        // One at a time where any port may be the one: more would only share the budget.
        let searching = self.answering.values().any(|other| other.guess.ports.is_none());
        let answered = self.answered.entry(from).or_default();
        answered.retain(|(_, began)| now < *began + GUESSES_SPAN);
        let again = answered.iter().any(|(attempt, _)| *attempt == guess.attempt);
        if again || answered.len() >= MAX_GUESSES || (guess.ports.is_none() && searching) {
            return;
        }
        answered.push((guess.attempt, now));
        let answering = Answering {
            guess,
            until: now + ATTEMPT_TIME,
            next: now,
            tried: BTreeSet::new(),
        };
        self.answering.insert(from, answering);
    }

    pub(super) fn handle_settled(&mut self, member: MemberId) {
        self.answering.remove(&member);
    }

    pub(super) fn handle_moved(&mut self, member: MemberId) {
        self.answering.remove(&member);
    }

    pub(super) fn is_trying(&self, member: MemberId) -> bool {
        self.answering.contains_key(&member)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.answering
            .values()
            .map(|answering| answering.next.min(answering.until))
            .min()
    }

    pub(super) fn handle_timeout(&mut self, budget: &mut Budget, out: &mut Out, rng: &mut dyn RngCore, now: Instant) {
        self.answering.retain(|_, answering| now < answering.until);
        for (member, answering) in &mut self.answering {
            if answering.next > now {
                continue;
            }
            let ports = answering.draw(rng);
            answering.next = now
                + if answering.guess.ports.is_some() {
                    REPEAT
                } else {
                    HANDFUL_PAUSE
                };
            for port in ports {
                if !answering.tried.contains(&port) && !budget.take(1, now) {
                    break;
                }
                answering.tried.insert(port);
                let route = Route::from(SocketAddr::new(answering.guess.address, port));
                out.transmits.push_back(Transmit::Probe { member: *member, route });
            }
        }
    }
}

impl Answering {
    /// The guessed ports, every time; or some that were not tried before.
    fn draw(&self, rng: &mut dyn RngCore) -> BTreeSet<u16> {
        match self.guess.ports {
            Some(ports) => ports.ports().collect(),
            None => std::iter::repeat_with(|| rng.random_range(PORTS))
                .filter(|port| !self.tried.contains(port))
                .take(HANDFUL)
                .collect(),
        }
    }
}
