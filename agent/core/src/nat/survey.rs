//! One address family's survey: seeking, measuring, resting.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::RngCore;

use super::classify::{Observations, Seen, Test};
use super::message::{self, Outcome};
use super::questions::{Asks, Question, Questions};
use super::{StunEndpoint, Transmit};

/// When a question is asked again. Six attempts: with every fifth packet lost each way, all fail once in 500 times.
const ATTEMPTS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(2250),
];
/// When nothing is expected any more.
const GIVE_UP: Duration = Duration::from_secs(3);
/// Pause between two measurements: routers close idle mappings after 30 s and more.
const REFRESH: Duration = Duration::from_secs(25);
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
/// Servers used per family.
const MAX_SERVERS: usize = 4;

/// What a survey found out about the NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) mapping: Mapping,
    pub(super) filtering: Filtering,
}

#[derive(Debug)]
pub(super) struct Survey {
    servers: Vec<StunEndpoint>,
    own: BTreeSet<SocketAddr>,
    questions: Questions,
    stage: Stage,
    public: Option<SocketAddr>,
    measured: Option<Measured>,
}

#[derive(Debug)]
enum Stage {
    Seeking(Attempts),
    Measuring(Box<Measuring>),
    /// Until then; the primary is asked again, or, without one, every server is.
    Resting(Instant, Option<SocketAddr>),
    Refreshing(Attempts, SocketAddr),
}

/// How far a series of attempts has come.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    started: Instant,
    made: usize,
}

impl Attempts {
    fn new(now: Instant) -> Self {
        Self { started: now, made: 0 }
    }

    fn next(self) -> Instant {
        self.started + ATTEMPTS.get(self.made).copied().unwrap_or(GIVE_UP)
    }

    fn is_over(self, now: Instant) -> bool {
        now >= self.started + GIVE_UP
    }

    /// Whether an attempt is due; counts it as made.
    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.made < ATTEMPTS.len() && now >= self.next();
        self.made += usize::from(due);
        due
    }
}

/// The state of a measurement.
#[derive(Debug)]
struct Measuring {
    primary: SocketAddr,
    sibling: SocketAddr,
    /// The primary's OTHER-ADDRESS.
    other: Option<SocketAddr>,
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

impl Survey {
    pub(super) fn new(mut servers: Vec<StunEndpoint>, own: BTreeSet<SocketAddr>, now: Instant) -> Self {
        servers.truncate(MAX_SERVERS);
        Self {
            servers,
            own,
            questions: Questions::default(),
            stage: Stage::Seeking(Attempts::new(now)),
            public: None,
            measured: None,
        }
    }

    /// The public address, when known.
    pub(super) fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// The last complete measurement.
    pub(super) fn measured(&self) -> Option<Measured> {
        self.measured
    }

    /// Begins again. What was found before counts no more if this PC's addresses are others now.
    pub(super) fn restart(&mut self, own: BTreeSet<SocketAddr>, now: Instant) {
        if self.own != own {
            self.own = own;
            self.measured = None;
            self.questions.forget_contacts();
        }
        self.seek(now);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.questions.poll_transmit()
    }

    pub(super) fn poll_timeout(&self) -> (Instant, &'static str) {
        match &self.stage {
            Stage::Seeking(attempts) => (attempts.next(), "look for a STUN server"),
            Stage::Refreshing(attempts, _) => (attempts.next(), "ask for the public address again"),
            Stage::Resting(until, _) => (*until, "check the public address"),
            Stage::Measuring(measuring) => (measuring.next(), "measure the NAT"),
        }
    }

    pub(super) fn handle_timeout(&mut self, rng: &mut dyn RngCore, now: Instant) {
        if let Stage::Resting(until, primary) = self.stage
            && now >= until
        {
            match primary {
                Some(primary) => self.stage = Stage::Refreshing(Attempts::new(now), primary),
                None => self.seek(now),
            }
        }
        match &mut self.stage {
            Stage::Seeking(attempts) if attempts.is_over(now) => self.settle_as_blocked(now),
            Stage::Seeking(attempts) => {
                if attempts.take_due(now) {
                    seek_round(&self.servers, attempts.made, &mut self.questions, rng, now);
                }
            }
            // The server may have gone, or the way to it.
            Stage::Refreshing(attempts, _) if attempts.is_over(now) => {
                self.seek(now);
                self.handle_timeout(rng, now);
            }
            Stage::Refreshing(attempts, primary) => {
                if attempts.take_due(now) {
                    self.questions.ask(*primary, Asks::Plain, rng, now);
                }
            }
            Stage::Measuring(_) => self.measure(rng, now),
            Stage::Resting(..) => {}
        }
    }

    /// True when the datagram answers one of the questions.
    pub(super) fn handle_datagram(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        rng: &mut dyn RngCore,
        now: Instant,
    ) -> bool {
        let Some(answer) = message::answer(bytes) else {
            return false;
        };
        let Some(question) = self.questions.find(answer.id) else {
            return false;
        };
        if question.asks == Asks::Plain && from != question.to {
            return true;
        }
        self.questions.close(answer.id);
        match answer.outcome {
            Outcome::Mapped { mapped, .. } if mapped.is_ipv4() != from.is_ipv4() => return true,
            Outcome::Mapped { mapped, other } => self.observe(question, from, mapped, other, now),
            Outcome::Refused => {
                if let Stage::Measuring(measuring) = &mut self.stage {
                    measuring.refused(question);
                }
            }
        }
        self.handle_timeout(rng, now);
        true
    }

    fn observe(
        &mut self,
        question: Question,
        from: SocketAddr,
        mapped: SocketAddr,
        other: Option<SocketAddr>,
        now: Instant,
    ) {
        match &mut self.stage {
            Stage::Seeking(_) => {
                self.public = Some(mapped);
                self.begin_measuring(question.to, mapped, other, now);
            }
            Stage::Refreshing(_, primary) if *primary == question.to => {
                if self.public == Some(mapped) {
                    self.stage = Stage::Resting(now + REFRESH, Some(question.to));
                } else {
                    self.public = Some(mapped);
                    self.begin_measuring(question.to, mapped, other, now);
                }
            }
            _ => {}
        }
        if let Stage::Measuring(measuring) = &mut self.stage {
            measuring.observe(question, from, mapped, &self.questions, now);
        }
    }

    fn seek(&mut self, now: Instant) {
        self.questions.forget();
        self.stage = Stage::Seeking(Attempts::new(now));
    }

    fn settle_as_blocked(&mut self, now: Instant) {
        self.questions.forget();
        self.public = None;
        self.measured = Some(Measured {
            mapping: Mapping::Blocked,
            filtering: Filtering::Unknown,
        });
        self.stage = Stage::Resting(now + REFRESH, None);
    }

    fn begin_measuring(&mut self, primary: SocketAddr, base: SocketAddr, other: Option<SocketAddr>, now: Instant) {
        // Questions to servers that were only tried stay open: their answers still tell what they see.
        let Some(sibling) = self.sibling(primary) else {
            return self.seek(now);
        };
        self.stage = Stage::Measuring(Box::new(Measuring {
            primary,
            sibling,
            other,
            base,
            change_both: if other.is_some() { Test::Open } else { Test::Unsupported },
            change_port: Test::Open,
            rounds: Rounds::new(now),
            targets: self.targets(primary, sibling, other),
        }));
    }

    /// The other port on the same address.
    fn sibling(&self, endpoint: SocketAddr) -> Option<SocketAddr> {
        let pairs = self.servers.iter().map(ports);
        pairs
            .flat_map(|[first, second]| [(first, second), (second, first)])
            .find(|(one, _)| *one == endpoint)
            .map(|(_, other)| other)
    }

    /// Whom to ask besides the primary, each once.
    fn targets(&self, primary: SocketAddr, sibling: SocketAddr, other: Option<SocketAddr>) -> Vec<Target> {
        let usable = other.filter(|other| other.ip() != primary.ip() && other.is_ipv4() == primary.is_ipv4());
        let others = usable
            .into_iter()
            .flat_map(|other| [SocketAddr::new(other.ip(), primary.port()), other]);
        let servers = self.servers.iter().flat_map(ports);
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

    fn measure(&mut self, rng: &mut dyn RngCore, now: Instant) {
        let Stage::Measuring(measuring) = &mut self.stage else {
            return;
        };
        measuring.rounds(&mut self.questions, rng, now);
        measuring.ask_targets(&mut self.questions, rng, now);
        let observations = measuring.observations(&self.own);
        let (Some(mapping), Some(filtering)) = (observations.mapping(), observations.filtering()) else {
            return;
        };
        // After an earlier survey the NAT's filter is still open for the test's addresses; what was found then stands.
        let earlier = self.measured.map(|measured| measured.filtering);
        let filtering = match earlier {
            Some(earlier) if observations.is_tainted() && earlier != Filtering::Unknown => earlier,
            _ => filtering,
        };
        let primary = measuring.primary;
        self.measured = Some(Measured { mapping, filtering });
        self.questions.forget();
        self.stage = Stage::Resting(now + REFRESH, Some(primary));
    }
}

fn ports(server: &StunEndpoint) -> [SocketAddr; 2] {
    [server.address, SocketAddr::new(server.address.ip(), server.second_port)]
}

/// The first server from the start, each further one with one more attempt, and with the last attempt the second ports too:
/// whoever is not needed is not asked, because asking spoils the filtering tests.
fn seek_round(
    servers: &[StunEndpoint],
    attempt: usize,
    questions: &mut Questions,
    rng: &mut dyn RngCore,
    now: Instant,
) {
    let first_ports = servers.iter().map(|server| ports(server)[0]).take(attempt);
    let second_ports = servers.iter().map(|server| ports(server)[1]);
    let second_ports = second_ports.filter(|_| attempt == ATTEMPTS.len());
    for (index, endpoint) in first_ports.chain(second_ports).enumerate() {
        questions.ask(endpoint, Asks::Plain, rng, now);
        if index == 0 {
            questions.ask(endpoint, Asks::ChangePort, rng, now);
            questions.ask(endpoint, Asks::ChangeBoth, rng, now);
        }
    }
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
    fn next(&self) -> Instant {
        let rounds = self.is_testing().then_some(self.rounds.next);
        let asked = self.targets.iter().filter(|target| target.seen == Seen::Pending);
        let targets = asked.filter_map(|target| target.attempts).map(Attempts::next);
        // Something is always under way; the last resort keeps a mistake from stopping the survey.
        targets.chain(rounds).min().unwrap_or(self.rounds.started + GIVE_UP)
    }

    fn is_testing(&self) -> bool {
        self.change_both == Test::Open || self.change_port == Test::Open
    }

    fn rounds(&mut self, questions: &mut Questions, rng: &mut dyn RngCore, now: Instant) {
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

    fn ask_targets(&mut self, questions: &mut Questions, rng: &mut dyn RngCore, now: Instant) {
        for index in 0..self.targets.len() {
            let may_ask = self.may_ask(self.targets[index].address);
            let target = &mut self.targets[index];
            if target.seen != Seen::Pending || target.attempts.is_none() && !may_ask {
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

    /// Whether sending to `target` leaves the filtering tests that are still open as they are.
    fn may_ask(&self, target: SocketAddr) -> bool {
        let is_source_of_both = self.other.is_some_and(|other| other.ip() == target.ip());
        let is_source_of_port = target.ip() == self.primary.ip();
        !(is_source_of_both && self.change_both == Test::Open || is_source_of_port && self.change_port == Test::Open)
    }

    fn observe(
        &mut self,
        question: Question,
        from: SocketAddr,
        mapped: SocketAddr,
        questions: &Questions,
        now: Instant,
    ) {
        let round_trip = now.saturating_duration_since(question.sent);
        self.rounds.longest_round_trip = self.rounds.longest_round_trip.max(round_trip.min(GIVE_UP));
        if question.asks == Asks::Plain {
            let target = self.targets.iter_mut().find(|target| target.address == question.to);
            if let Some(target) = target {
                target.seen = Seen::Mapped(mapped);
            }
        } else if question.to == self.primary {
            self.observe_filter(question.asks, from, questions, now);
        }
    }

    fn observe_filter(&mut self, asks: Asks, from: SocketAddr, questions: &Questions, now: Instant) {
        let same_address = from.ip() == self.primary.ip();
        let (test, as_asked, tainted) = if asks == Asks::ChangeBoth {
            let changed = !same_address && from.port() != self.primary.port();
            (
                &mut self.change_both,
                changed,
                questions.has_contacted_address(from.ip(), now),
            )
        } else {
            let changed = same_address && from.port() != self.primary.port();
            (&mut self.change_port, changed, questions.has_contacted(from, now))
        };
        if *test == Test::Open {
            *test = match (as_asked, tainted) {
                (false, _) => Test::Unsupported,
                (true, true) => Test::Tainted,
                (true, false) => Test::Passed,
            };
        }
    }

    fn refused(&mut self, question: Question) {
        if question.to != self.primary {
            return;
        }
        match question.asks {
            Asks::ChangeBoth => self.change_both = Test::Unsupported,
            Asks::ChangePort => self.change_port = Test::Unsupported,
            Asks::Plain => {}
        }
    }

    fn observations(&self, own: &BTreeSet<SocketAddr>) -> Observations {
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
