//! One measurement: the rounds of the filtering tests, and what other addresses see.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngCore;

use super::attempts::{Attempts, GIVE_UP};
use super::classify::{Observations, Seen, Test};
use super::questions::{Asks, Question, Questions};

/// Pause between two rounds of the filtering tests.
const ROUND: Duration = Duration::from_millis(100);
/// Rounds without an answer that prove a filter where no packet is lost.
const MIN_ROUNDS: usize = 8;
/// Further rounds for each plain question that was lost meanwhile.
const ROUNDS_PER_LOSS: usize = 2;
/// Rounds after which it is a filter in any case.
const MAX_ROUNDS: usize = 24;
/// Shortest wait for the answers of the last round; otherwise twice the longest round trip seen.
const MIN_GRACE: Duration = Duration::from_millis(300);

/// The state of a measurement.
#[derive(Debug)]
pub(super) struct Measuring {
    primary: SocketAddr,
    sibling: SocketAddr,
    base: SocketAddr,
    change_both: Test,
    change_port: Test,
    rounds: Rounds,
    targets: Vec<Target>,
}

/// The rounds of the filtering tests.
#[derive(Debug)]
struct Rounds {
    started: Instant,
    made: usize,
    wanted: usize,
    /// When the next round, or after the last one the judgement, is due.
    next: Instant,
    longest_round_trip: Duration,
}

/// An address asked for what mapping it sees.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    seen: Seen,
    attempts: Option<Attempts>,
}

impl Rounds {
    fn new(now: Instant) -> Self {
        Self {
            started: now,
            made: 0,
            wanted: MIN_ROUNDS,
            next: now,
            longest_round_trip: Duration::ZERO,
        }
    }
}

impl Measuring {
    /// `primary` sees this PC at `base`; `sibling` is its other port, `other` its OTHER-ADDRESS, `servers` is every port known.
    pub(super) fn new(
        primary: SocketAddr,
        sibling: SocketAddr,
        other: Option<SocketAddr>,
        base: SocketAddr,
        servers: impl Iterator<Item = SocketAddr>,
        now: Instant,
    ) -> Self {
        Self {
            primary,
            sibling,
            base,
            change_both: if other.is_some() { Test::Open } else { Test::Unsupported },
            change_port: Test::Open,
            rounds: Rounds::new(now),
            targets: targets(primary, sibling, other, servers),
        }
    }

    /// The server everything is compared with.
    pub(super) fn primary(&self) -> SocketAddr {
        self.primary
    }

    /// When the next question or judgement is due.
    pub(super) fn next(&self) -> Instant {
        let rounds = self.is_testing().then_some(self.rounds.next);
        let asked = self.targets.iter().filter(|target| target.seen == Seen::Pending);
        let targets = asked.filter_map(|target| target.attempts).map(Attempts::next);
        // Something is always under way; the last resort keeps a mistake from stopping the survey.
        targets.chain(rounds).min().unwrap_or(self.rounds.started + GIVE_UP)
    }

    fn is_testing(&self) -> bool {
        self.change_both == Test::Open || self.change_port == Test::Open
    }

    pub(super) fn rounds(&mut self, questions: &mut Questions, rng: &mut dyn RngCore, now: Instant) {
        if !self.is_testing() || now < self.rounds.next {
            return;
        }
        if self.rounds.made == self.rounds.wanted {
            let lost = questions.unanswered(self.primary, self.rounds.started);
            self.rounds.wanted = (MIN_ROUNDS + ROUNDS_PER_LOSS * lost).min(MAX_ROUNDS);
            if self.rounds.made >= self.rounds.wanted {
                self.fail_open_tests();
                return;
            }
        }
        questions.ask(self.primary, Asks::Plain, rng, now);
        if self.change_port == Test::Open {
            questions.ask(self.primary, Asks::ChangePort, rng, now);
        }
        if self.change_both == Test::Open {
            questions.ask(self.primary, Asks::ChangeBoth, rng, now);
        }
        self.rounds.made += 1;
        self.rounds.next = now
            + if self.rounds.made < self.rounds.wanted {
                ROUND
            } else {
                MIN_GRACE.max(2 * self.rounds.longest_round_trip)
            };
    }

    fn fail_open_tests(&mut self) {
        for test in [&mut self.change_both, &mut self.change_port] {
            if *test == Test::Open {
                *test = Test::Failed;
            }
        }
    }

    pub(super) fn ask_targets(&mut self, questions: &mut Questions, rng: &mut dyn RngCore, now: Instant) {
        for target in &mut self.targets {
            if target.seen != Seen::Pending {
                continue;
            }
            let attempts = target.attempts.get_or_insert(Attempts::new(now));
            if attempts.is_over(now) {
                target.seen = Seen::Silent;
            } else if attempts.take_due(now) {
                questions.ask(target.address, Asks::Plain, rng, now);
            }
        }
    }

    pub(super) fn observe(&mut self, question: Question, from: SocketAddr, mapped: SocketAddr, now: Instant) {
        let round_trip = now.saturating_duration_since(question.sent);
        self.rounds.longest_round_trip = self.rounds.longest_round_trip.max(round_trip.min(GIVE_UP));
        if question.asks == Asks::Plain {
            let target = self.targets.iter_mut().find(|target| target.address == question.to);
            if let Some(target) = target {
                target.seen = Seen::Mapped(mapped);
            }
        } else if question.to == self.primary {
            self.observe_filter(question.asks, from);
        }
    }

    fn observe_filter(&mut self, asks: Asks, from: SocketAddr) {
        let same_address = from.ip() == self.primary.ip();
        let other_port = from.port() != self.primary.port();
        let (test, as_asked) = if asks == Asks::ChangeBoth {
            (&mut self.change_both, !same_address && other_port)
        } else {
            (&mut self.change_port, same_address && other_port)
        };
        if *test == Test::Open {
            *test = if as_asked { Test::Passed } else { Test::Unsupported };
        }
    }

    pub(super) fn refused(&mut self, question: Question) {
        if question.to != self.primary {
            return;
        }
        match question.asks {
            Asks::ChangeBoth => self.change_both = Test::Unsupported,
            Asks::ChangePort => self.change_port = Test::Unsupported,
            Asks::Plain => {}
        }
    }

    pub(super) fn observations(&self, own: &BTreeSet<SocketAddr>) -> Observations {
        let sibling = self.targets.iter().find(|target| target.address == self.sibling);
        let elsewhere = self
            .targets
            .iter()
            .filter(|target| target.address.ip() != self.primary.ip());
        Observations {
            base: self.base,
            base_is_own: own.contains(&self.base),
            sibling: sibling.map_or(Seen::Silent, |target| target.seen),
            elsewhere: elsewhere.map(|target| (target.address, target.seen)).collect(),
            change_both: self.change_both,
            change_port: self.change_port,
        }
    }
}

/// Whom to ask besides the primary, each once.
fn targets(
    primary: SocketAddr,
    sibling: SocketAddr,
    other: Option<SocketAddr>,
    servers: impl Iterator<Item = SocketAddr>,
) -> Vec<Target> {
    let usable = other.filter(|other| other.ip() != primary.ip() && other.is_ipv4() == primary.is_ipv4());
    let others = usable
        .into_iter()
        .flat_map(|other| [SocketAddr::new(other.ip(), primary.port()), other]);
    let mut targets: Vec<Target> = Vec::new();
    for address in [sibling].into_iter().chain(others).chain(servers) {
        if address != primary && address.port() != 0 && targets.iter().all(|target| target.address != address) {
            targets.push(Target {
                address,
                seen: Seen::Pending,
                attempts: None,
            });
        }
    }
    targets
}
