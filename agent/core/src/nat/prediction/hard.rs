//! The side behind the symmetric NAT: it looks how ports are given out, guesses, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_shared::ids::MemberId;
use lanrage_shared::signal::{MAX_GUESSED_PORTS, PortGuess, PortRange};
use lanrage_shared::wire::stun::ChangeRequest;
use rand::RngCore;

use super::budget::Budget;
use super::{ATTEMPT_TIME, Event, HANDFUL, HANDFUL_PAUSE, Out, REPEAT, Transmit};
use crate::batch::{Packet, Route, SideNumber};
use crate::nat::StunEndpoint;
use crate::nat::message::{self, Outcome, TRANSACTION_MASK, TransactionId};

/// The pause after a failed attempt; it doubles with each, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// A way that lasts this long was worth its attempt: a NAT that forgets sooner would have it guessed again without end.
const LASTING: Duration = Duration::from_secs(60);
/// A server that does not answer within this is asked again, from another socket.
const SOUNDING_TIME: Duration = Duration::from_secs(1);
const SOUNDINGS: u32 = 4;
/// Mappings a sounding costs.
const SOUNDING_COST: usize = 3;
/// Ports behind the last seen that are guessed too: packets sent at once may leave in another order.
const MARGIN: u16 = 2;
/// Ports guessed after one that the server saw twice: the NAT looks at addresses only, and nothing came in between.
const AFTER: u16 = 8;
/// A socket that is no candidate any more may still be on its way into use.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct HardSide {
    server: Option<StunEndpoint>,
    wanted: BTreeMap<MemberId, SocketAddr>,
    /// Attempts with each peer since the last one that lasted, and when the next may begin.
    failures: BTreeMap<MemberId, (u32, Instant)>,
    /// Since when there has been a direct way to a peer.
    direct: BTreeMap<MemberId, Instant>,
    current: Option<Attempt>,
    sockets: u32,
}

#[derive(Debug)]
struct Attempt {
    member: MemberId,
    target: SocketAddr,
    number: u32,
    guess: Option<PortGuess>,
    sockets: Vec<SideNumber>,
    stage: Stage,
    next: Instant,
    until: Instant,
}

#[derive(Debug)]
enum Stage {
    /// The server was asked for the so-manyth time.
    Sounding(u32, [Question; 2]),
    /// The peer sends to some ports of which one should be this socket's.
    Aimed(SideNumber),
    /// Any port may be the one.
    Search,
}

#[derive(Debug)]
struct Question {
    id: TransactionId,
    seen: Option<SocketAddr>,
}

impl HardSide {
    pub(super) fn handle_servers(&mut self, servers: &[StunEndpoint]) {
        self.server = servers.iter().find(|server| server.address.is_ipv4()).copied();
    }

    pub(super) fn handle_wanted(&mut self, wanted: BTreeMap<MemberId, SocketAddr>, out: &mut Out, now: Instant) {
        self.wanted = wanted;
        let is_over = |attempt: &Attempt| !self.wanted.contains_key(&attempt.member);
        if self.current.as_ref().is_some_and(is_over) {
            // What came of it has to last before it counts as a success.
            self.fail(out, now);
        }
    }

    /// The peers that there is a direct way to.
    pub(super) fn handle_direct(&mut self, members: &BTreeSet<MemberId>, now: Instant) {
        self.direct.retain(|member, _| members.contains(member));
        for member in members {
            let since = self.direct.entry(*member).or_insert(now);
            if *since + LASTING <= now {
                self.failures.remove(member);
            }
        }
    }

    pub(super) fn handle_moved(&mut self, member: MemberId) {
        self.failures.remove(&member);
    }

    pub(super) fn guess(&self, member: MemberId) -> Option<PortGuess> {
        self.current.as_ref().filter(|attempt| attempt.member == member)?.guess
    }

    pub(super) fn is_trying(&self, member: MemberId) -> bool {
        self.current.as_ref().is_some_and(|attempt| attempt.member == member)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        match (&self.current, self.server) {
            (Some(attempt), _) => Some(attempt.next.min(attempt.until)),
            // Who never failed is tried as soon as it is wanted, which is said before every timeout.
            (None, Some(_)) => self
                .wanted
                .keys()
                .filter_map(|member| Some(self.failures.get(member)?.1))
                .min(),
            (None, None) => None,
        }
    }

    pub(super) fn handle_datagram(&mut self, from: Route, bytes: &[u8], out: &mut Out, now: Instant) -> bool {
        let (Some(attempt), Some(answer)) = (&mut self.current, message::answer(bytes)) else {
            return false;
        };
        let (Stage::Sounding(_, questions), Outcome::Mapped { mapped, .. }) = (&mut attempt.stage, answer.outcome)
        else {
            return false;
        };
        let question = questions.iter_mut().find(|question| question.id == answer.id);
        let Some(question) = question.filter(|_| from.side() == attempt.sockets.last().copied()) else {
            return false;
        };
        question.seen = Some(mapped);
        if let [Some(before), Some(after)] = [questions[0].seen, questions[1].seen] {
            let failures = self.failures.get(&attempt.member).map_or(0, |(failures, _)| *failures);
            attempt.guess(before, after, failures, now);
            out.events.push_back(Event::Guessed(attempt.member));
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, budget: &mut Budget, out: &mut Out, rng: &mut dyn RngCore, now: Instant) {
        if self.current.is_none() {
            self.begin(rng, now);
        }
        let Some(attempt) = &mut self.current else { return };
        if attempt.until <= now {
            return self.fail(out, now);
        }
        if attempt.next > now {
            return;
        }
        match &attempt.stage {
            Stage::Sounding(tries, _) if *tries >= SOUNDINGS => self.fail(out, now),
            Stage::Sounding(tries, _) => {
                let tries = *tries + 1;
                attempt.next = now + SOUNDING_TIME;
                if budget.take(SOUNDING_COST, now) {
                    self.sound(tries, out, rng);
                }
            }
            Stage::Aimed(socket) => {
                attempt.next = now + REPEAT;
                let probe = attempt.probe(*socket);
                out.transmits.push_back(probe);
            }
            Stage::Search => {
                attempt.next = now + HANDFUL_PAUSE;
                for _ in 0..HANDFUL {
                    // The last sockets are given the time to be met.
                    if attempt.until <= now + GRACE || !budget.take(1, now) {
                        break;
                    }
                    let socket = fresh(&mut self.sockets);
                    attempt.sockets.push(socket);
                    out.transmits.push_back(attempt.probe(socket));
                }
            }
        }
    }

    /// The peer that waited longest, if any is due.
    fn begin(&mut self, rng: &mut dyn RngCore, now: Instant) {
        if self.server.is_none() {
            return;
        }
        let due = |member: &MemberId| self.failures.get(member).map_or(now, |(_, next)| *next);
        let waiting = self
            .wanted
            .iter()
            .map(|(member, target)| (due(member), *member, *target));
        let Some((_, member, target)) = waiting.filter(|(due, ..)| *due <= now).min() else {
            return;
        };
        self.current = Some(Attempt {
            member,
            target,
            number: rng.next_u32(),
            guess: None,
            sockets: Vec::new(),
            stage: Stage::Sounding(0, [Question::default(), Question::default()]),
            next: now,
            until: now + ATTEMPT_TIME,
        });
    }

    /// Asks the server, sends to the peer and asks the server again.
    fn sound(&mut self, tries: u32, out: &mut Out, rng: &mut dyn RngCore) {
        let (Some(attempt), Some(server)) = (&mut self.current, self.server) else {
            return;
        };
        let socket = fresh(&mut self.sockets);
        attempt.sockets.push(socket);
        let mut ask = |port| {
            let id = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & TRANSACTION_MASK;
            let address = SocketAddr::new(server.address.ip(), port);
            out.transmits.push_back(Transmit::Question(Packet {
                peer: Route::Side { socket, address },
                data: message::request(id, ChangeRequest::default()).as_slice().into(),
            }));
            if port == server.address.port() {
                out.transmits.push_back(attempt.probe(socket));
            }
            Question { id, seen: None }
        };
        let questions = [ask(server.address.port()), ask(server.second_port)];
        attempt.stage = Stage::Sounding(tries, questions);
    }

    fn fail(&mut self, out: &mut Out, now: Instant) {
        let Some(attempt) = self.current.take() else { return };
        let (failures, next) = self.failures.entry(attempt.member).or_insert((0, now));
        *next = now + MAX_PAUSE.min(FIRST_PAUSE * 2u32.saturating_pow(*failures));
        *failures += 1;
        out.events.push_back(Event::Over(attempt.sockets));
    }
}

impl Attempt {
    fn probe(&self, socket: SideNumber) -> Transmit {
        let address = self.target;
        Transmit::Probe {
            member: self.member,
            route: Route::Side { socket, address },
        }
    }

    /// The server saw our socket at `before`, then we sent to the peer, then it saw us at `after`. A guess that failed before
    /// gives way to the search every other time.
    fn guess(&mut self, before: SocketAddr, after: SocketAddr, failures: u32, now: Instant) {
        let ports = between(before.port(), after.port()).filter(|_| failures.is_multiple_of(2));
        self.stage = match self.sockets.last() {
            Some(socket) if ports.is_some() => Stage::Aimed(*socket),
            _ => Stage::Search,
        };
        self.guess = Some(PortGuess {
            attempt: self.number,
            address: before.ip(),
            ports,
        });
        self.next = now;
        self.until = now + ATTEMPT_TIME + GRACE;
    }
}

impl Default for Question {
    /// One that no answer fits.
    fn default() -> Self {
        Self {
            id: TransactionId::MAX,
            seen: None,
        }
    }
}

fn fresh(sockets: &mut u32) -> SideNumber {
    *sockets += 1;
    SideNumber(*sockets)
}

/// The ports that a NAT which gives them out in a row may have given between two that were seen.
fn between(before: u16, after: u16) -> Option<PortRange> {
    let most = MAX_GUESSED_PORTS - MARGIN;
    match before.abs_diff(after) {
        0 => PortRange::new(before.checked_add(1)?, before.saturating_add(AFTER)),
        gap if gap >= most => None,
        _ if before < after => PortRange::new(before + 1, after.saturating_add(MARGIN)),
        _ => PortRange::new(after.saturating_sub(MARGIN).max(1), before - 1),
    }
}
