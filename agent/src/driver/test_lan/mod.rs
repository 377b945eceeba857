//! `lanrage test-lan`: whether discovery works between all members, tried out.
//!
//! The agent that was asked ([`asking`]) tells every member's agent through the tunnel ([`wire`]) to listen with ordinary sockets
//! on a game's ports ([`listening`]), then to send marked packets the way the game does, and at last asks each what it heard,
//! what came in, and what it passed on. From that follows who hears whom, and where what was not heard was lost ([`words`]). The
//! agent that asks takes part like any other.

pub mod asking;
mod listening;
pub mod wire;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lanrage_agent_core::rate::Rate;
use lanrage_shared::ids::MemberId;
use lanrage_shared::names::MemberName;
use tokio::sync::mpsc;

use self::listening::Listening;
use self::wire::{MOST_WAYS, Message, Target};
use super::dataplane::DataPlane;
use super::party::PartySession;
use crate::api::Failure;

/// A test is over by then, also when its end was not heard of.
const LIFETIME: Duration = Duration::from_secs(10);
/// Tests a PC takes part in at a time, one of each member's.
const MOST_TESTS: usize = 4;
/// Tests a second that a member may ask for in the long run, and at once.
const TESTS_PER_SECOND: f64 = 0.1;
const TESTS_AT_ONCE: f64 = 6.0;
/// Answers waiting for whoever asked: a few of each member.
const ANSWERS: usize = 1024;

/// The tests this PC takes part in.
#[derive(Default)]
pub struct TestLan {
    tests: BTreeMap<u64, Running>,
    asked: BTreeMap<MemberId, Rate>,
    /// Who asked here, and which test it is.
    asking: Option<(u64, mpsc::Sender<(MemberId, Message)>)>,
}

/// A test this PC takes part in.
struct Running {
    by: MemberId,
    listening: Listening,
    began: Instant,
}

/// A test that was asked for here.
pub struct Test {
    pub id: u64,
    pub me: Participant,
    pub others: Vec<Participant>,
    pub answers: mpsc::Receiver<(MemberId, Message)>,
    /// The tunnel's interface.
    pub tun: u32,
}

/// A member, and why it cannot take part, if that is known.
#[derive(Debug, Clone)]
pub struct Participant {
    pub member: MemberId,
    pub name: MemberName,
    pub absent: Option<String>,
}

impl TestLan {
    /// Whoever asks gets everything that is answered.
    pub fn begin(&mut self, session: Option<&PartySession>, data_plane: &DataPlane) -> Result<Test, Failure> {
        let session =
            session.ok_or_else(|| Failure::new("no_party", "this PC is in no party, so there is nobody to hear it"))?;
        let me = session
            .me()
            .ok_or_else(|| Failure::new("no_party", "this PC is not a member of its party any more"))?;
        let others = session.engine.peers().map(|view| Participant {
            member: view.member.id,
            absent: view.path.is_none().then(|| {
                let unknown = || format!("there is no path to {}", view.member.name);
                view.reason.clone().unwrap_or_else(unknown)
            }),
            name: view.member.name.clone(),
        });
        let (sender, answers) = mpsc::channel(ANSWERS);
        let id = rand::random();
        self.asking = Some((id, sender));
        Ok(Test {
            id,
            me: Participant {
                member: me.id,
                name: me.name.clone(),
                absent: None,
            },
            others: others.collect(),
            answers,
            tun: data_plane.tun,
        })
    }

    /// Says something to a member, also to this one.
    pub fn say(&mut self, to: MemberId, message: Message, session: &PartySession, data_plane: &DataPlane) {
        if to == session.cache.me {
            self.handle(to, message, session, data_plane);
            return;
        }
        let net = session.cache.party.net;
        if let Some(packet) = wire::packet(net.member_v4(session.cache.me), net.member_v4(to), &message) {
            data_plane.inject(packet);
        }
    }

    /// A member said something; its session has shown that it was that one.
    pub fn handle_message(&mut self, from: IpAddr, message: Message, session: &PartySession, data_plane: &DataPlane) {
        if let Some(from) = session.cache.party.net.member_at(from) {
            self.handle(from, message, session, data_plane);
        }
    }

    /// Ends what is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tests.retain(|_, running| now < running.began + LIFETIME);
    }

    /// Out of the party: every test is over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn handle(&mut self, from: MemberId, message: Message, session: &PartySession, data_plane: &DataPlane) {
        match message {
            Message::Begin { test, targets } => {
                if !self.tests.contains_key(&test) {
                    self.take_part(from, test, targets, session, data_plane);
                }
                if let Some(running) = self.tests.get(&test) {
                    let taken = running.listening.taken();
                    self.say(from, Message::Ready { test, taken }, session, data_plane);
                }
            }
            Message::Send { test } => {
                if let Some(running) = self.of(from, test) {
                    running.listening.send(data_plane.tun);
                }
            }
            Message::Ask { test } => {
                if let Some(running) = self.of(from, test) {
                    let results = running.listening.told(data_plane.lan.bridge.lock().marks());
                    self.say(from, Message::Told { test, results }, session, data_plane);
                }
            }
            Message::End { test } => {
                if self.of(from, test).is_some() {
                    self.tests.remove(&test);
                }
            }
            Message::Ready { test, .. } | Message::Told { test, .. } => {
                if let Some((asked, sender)) = &self.asking
                    && *asked == test
                {
                    // Whoever asked may be gone; an answer too many is asked for again.
                    let _ = sender.try_send((from, message));
                }
            }
        }
    }

    /// A test belongs to whoever asked for it.
    fn of(&mut self, from: MemberId, test: u64) -> Option<&mut Running> {
        self.tests.get_mut(&test).filter(|running| running.by == from)
    }

    fn take_part(
        &mut self,
        by: MemberId,
        test: u64,
        targets: Vec<Target>,
        session: &PartySession,
        data_plane: &DataPlane,
    ) {
        let began = Instant::now();
        let rate = self
            .asked
            .entry(by)
            .or_insert_with(|| Rate::new(TESTS_PER_SECOND, TESTS_AT_ONCE));
        if targets.is_empty() || targets.len() > MOST_WAYS || !rate.allow(began) {
            return;
        }
        self.tests.retain(|_, running| running.by != by);
        if self.tests.len() < MOST_TESTS {
            let listening = Listening::start(test, targets, session.cache.party.net, data_plane.tun);
            self.tests.insert(test, Running { by, listening, began });
        }
    }
}
