//! One address family's survey: seeking, measuring, resting.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::addr::is_host;
use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::RngCore;

use super::attempts::{ATTEMPTS, Attempts};
use super::measuring::Measuring;
use super::message::{self, Outcome};
use super::questions::{Asks, Question, Questions};
use super::{StunEndpoint, Transmit};

/// Pause between two measurements: under the shortest mapping lifetime seen in home routers (20 s). A mapping that ended meanwhile
/// would be a new address, of which every peer is told.
const REFRESH: Duration = Duration::from_secs(15);
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
        }
        self.seek(now);
    }

    /// The mapping may be another by now: the rest is over.
    pub(super) fn handle_doubt(&mut self, now: Instant) {
        if let Stage::Resting(until, Some(_)) = &mut self.stage {
            *until = now.min(*until);
        }
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
        let plain = question.asks == Asks::Plain;
        match &mut self.stage {
            Stage::Seeking(_) if plain => {
                self.public = Some(mapped);
                self.begin_measuring(question.to, mapped, other, now);
            }
            Stage::Refreshing(_, primary) if plain && *primary == question.to => {
                if self.public == Some(mapped) {
                    self.stage = Stage::Resting(now + REFRESH, Some(question.to));
                } else {
                    self.public = Some(mapped);
                    self.questions.renew_side();
                    self.begin_measuring(question.to, mapped, other, now);
                }
            }
            _ => {}
        }
        if let Stage::Measuring(measuring) = &mut self.stage {
            measuring.observe(question, from, mapped, now);
        }
    }

    fn seek(&mut self, now: Instant) {
        self.questions.forget();
        self.questions.renew_side();
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
        // Whoever answers could send us anywhere.
        let other = other.filter(|other| other.ip() == primary.ip() || is_host(other.ip()));
        let servers = self.servers.iter().flat_map(ports);
        let measuring = Measuring::new(primary, sibling, other, base, servers, now);
        self.stage = Stage::Measuring(Box::new(measuring));
    }

    /// The other port on the same address.
    fn sibling(&self, endpoint: SocketAddr) -> Option<SocketAddr> {
        let pairs = self.servers.iter().map(ports);
        pairs
            .flat_map(|[first, second]| [(first, second), (second, first)])
            .find(|(one, _)| *one == endpoint)
            .map(|(_, other)| other)
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
        let primary = measuring.primary();
        self.measured = Some(Measured { mapping, filtering });
        self.questions.forget();
        self.stage = Stage::Resting(now + REFRESH, Some(primary));
    }
}

fn ports(server: &StunEndpoint) -> [SocketAddr; 2] {
    [server.address, SocketAddr::new(server.address.ip(), server.second_port)]
}

/// The first server from the start, each further one with one more attempt, and with the last attempt the second ports too.
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
