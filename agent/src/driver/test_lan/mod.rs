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

use lanrage_shared::ids::MemberId;
use lanrage_shared::names::MemberName;
use tokio::sync::mpsc;

use self::listening::Listening;
use self::wire::{MOST_WAYS, Message, Target};
use super::dataplane::DataPlane;
use super::party::PartySession;
use crate::api::Failure;

/// A test is over by then, also when its end was not heard of.
const LIFETIME: Duration = Duration::from_secs(15);
/// Tests a PC takes part in at a time.
const MOST_TESTS: usize = 4;
/// Answers waiting for whoever asked: a few of each member.
const ANSWERS: usize = 1024;

/// The tests this PC takes part in.
#[derive(Default)]
pub struct TestLan {
    tests: BTreeMap<u64, (Listening, Instant)>,
    /// Who asked here, and which test it is.
    asking: Option<(u64, mpsc::Sender<(MemberId, Message)>)>,
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
        self.tests.retain(|_, (_, began)| now < *began + LIFETIME);
    }

    /// Out of the party: every test is over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn handle(&mut self, from: MemberId, message: Message, session: &PartySession, data_plane: &DataPlane) {
        match message {
            Message::Begin { test, targets } => {
                let known = self.tests.len();
                if !self.tests.contains_key(&test) && known < MOST_TESTS && targets.len() <= MOST_WAYS {
                    let listening = self.listen(test, targets, session, data_plane);
                    self.tests.insert(test, (listening, Instant::now()));
                }
                if let Some((listening, _)) = self.tests.get(&test) {
                    let taken = listening.taken();
                    self.say_back(from, Message::Ready { test, taken }, session, data_plane);
                }
            }
            Message::Send { test } => {
                if let Some((listening, _)) = self.tests.get(&test) {
                    listening.send(data_plane.tun);
                }
            }
            Message::Ask { test } => {
                if let Some((listening, _)) = self.tests.get(&test) {
                    let results = listening.told(data_plane.lan.bridge.lock().marks());
                    self.say_back(from, Message::Told { test, results }, session, data_plane);
                }
            }
            Message::End { test } => {
                self.tests.remove(&test);
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

    fn listen(&self, test: u64, targets: Vec<Target>, session: &PartySession, data_plane: &DataPlane) -> Listening {
        Listening::start(test, targets, session.cache.party.net, data_plane.tun)
    }

    fn say_back(&mut self, to: MemberId, message: Message, session: &PartySession, data_plane: &DataPlane) {
        self.say(to, message, session, data_plane);
    }
}
