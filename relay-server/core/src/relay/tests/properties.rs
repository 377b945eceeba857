//! What holds whatever happens: random comings, goings, removals, frames, blocked ports and time.

use std::collections::{BTreeMap, BTreeSet};

use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::Frame;
use proptest::prelude::*;

use crate::relay::testing::*;
use crate::relay::{Delivery, Limits, MAX_QUEUED_FRAMES, Next, Session, Verdict};

#[derive(Debug, Clone)]
enum Step {
    Sit(u128, u16),
    Leave(u128, u16),
    Send(u128, u16, u16, usize),
    /// The next deliveries to this port are given back.
    Block(u128, u16),
    Unblock(u128, u16),
    Remove(u128, u16),
    Egress,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (party, member) = (1u128..4, 1u16..5);
    prop_oneof![
        3 => (party.clone(), member.clone()).prop_map(|(party, member)| Step::Sit(party, member)),
        1 => (party.clone(), member.clone()).prop_map(|(party, member)| Step::Leave(party, member)),
        20 => (party.clone(), member.clone(), member.clone(), 0usize..2000)
            .prop_map(|(party, from, to, length)| Step::Send(party, from, to, length)),
        2 => (party.clone(), member.clone()).prop_map(|(party, member)| Step::Block(party, member)),
        2 => (party.clone(), member.clone()).prop_map(|(party, member)| Step::Unblock(party, member)),
        1 => (party, member).prop_map(|(party, member)| Step::Remove(party, member)),
        2 => Just(Step::Egress),
        2 => (0u64..40).prop_map(Step::Pass),
    ]
}

/// What the test knows, beside the machine.
struct Model {
    world: World,
    sessions: BTreeMap<(u128, u16), Session<Port>>,
    epochs: BTreeMap<u128, u32>,
    blocked: BTreeSet<(u128, u16)>,
    /// Removed, and not let in again since.
    removed: BTreeSet<(u128, u16)>,
    sent: u64,
    arrived: u64,
}

impl Model {
    fn deliver(&mut self, delivery: Delivery<Port>) -> Result<(), TestCaseError> {
        let (party, to) = delivery.port;
        let to = (party.0.as_u128(), to.0);
        if self.blocked.contains(&to) {
            if let Some(session) = self.sessions.get(&to) {
                session.hold(delivery.frame, self.world.now);
            }
            return Ok(());
        }
        self.arrive(to, &delivery.frame)
    }

    fn arrive(&mut self, to: (u128, u16), frame: &[u8]) -> Result<(), TestCaseError> {
        self.arrived += 1;
        let frame = Frame::parse(frame).unwrap();
        // The payload says who sent it and to whom.
        if let [party, sender, wanted, ..] = *frame.payload {
            prop_assert_eq!(
                (u128::from(party), u16::from(wanted)),
                to,
                "across parties or to somebody else"
            );
            prop_assert_eq!(
                frame.member,
                MemberId(sender.into()),
                "the sender's number is the relay's word"
            );
            prop_assert!(
                !self.removed.contains(&(u128::from(party), sender.into())),
                "from a removed member"
            );
        }
        prop_assert!(!self.removed.contains(&to), "to a removed member");
        Ok(())
    }

    fn pump(&mut self, at: (u128, u16)) -> Result<(), TestCaseError> {
        let Some(session) = self.sessions.get(&at).cloned() else {
            return Ok(());
        };
        let mut frames = 0;
        while let Next::Frame(frame) = session.next(self.world.now) {
            frames += 1;
            self.arrive(at, &frame)?;
        }
        prop_assert!(frames <= MAX_QUEUED_FRAMES);
        Ok(())
    }

    fn handle(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Sit(number, member) => {
                let mut claims = claims(party(number), member);
                claims.epoch = self.epochs.get(&number).copied().unwrap_or(1);
                let admitted = self.world.try_admit(&claims).unwrap();
                self.sessions.insert((number, member), admitted.session);
                self.removed.remove(&(number, member));
                self.blocked.remove(&(number, member));
            }
            Step::Leave(number, member) => {
                if let Some(session) = self.sessions.remove(&(number, member)) {
                    self.world.relay.leave(&session);
                }
            }
            Step::Send(number, from, to, length) => {
                let Some(session) = self.sessions.get(&(number, from)).cloned() else {
                    return Ok(());
                };
                let mut payload = vec![number as u8, from as u8, to as u8];
                payload.resize(length, 0);
                self.sent += 1;
                if let Verdict::Pass(delivery) = session.handle_frame(data(to, &payload), self.world.now) {
                    self.deliver(delivery)?;
                }
            }
            Step::Block(number, member) => {
                self.blocked.insert((number, member));
            }
            Step::Unblock(number, member) => {
                self.blocked.remove(&(number, member));
                self.pump((number, member))?;
            }
            Step::Remove(number, member) => {
                let epoch = self.epochs.entry(number).or_insert(1);
                *epoch += 1;
                let seq = u64::from(*epoch);
                self.world
                    .relay
                    .apply(&removal(seq, party(number), *epoch, &[member]), self.world.now);
                self.removed.insert((number, member));
            }
            Step::Egress => {
                for delivery in self.world.egress() {
                    self.deliver(delivery)?;
                }
            }
            Step::Pass(ms) => self.world.pass(ms),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn frames_stay_in_their_party_and_every_one_is_accounted_for(
        steps in proptest::collection::vec(step(), 1..300), narrow: bool,
    ) {
        let egress_bytes_per_s = if narrow { 100_000 } else { 1_000_000_000 };
        let mut model = Model {
            world: World::new(Limits { egress_bytes_per_s, ..Limits::default() }),
            sessions: BTreeMap::new(),
            epochs: BTreeMap::new(),
            blocked: BTreeSet::new(),
            removed: BTreeSet::new(),
            sent: 0,
            arrived: 0,
        };
        for step in steps {
            model.handle(step)?;
        }
        // Let everything out that still waits.
        model.blocked.clear();
        for at in model.sessions.keys().copied().collect::<Vec<_>>() {
            model.pump(at)?;
        }
        while let Some(at) = model.world.relay.poll_egress() {
            model.world.now = model.world.now.max(at);
            model.handle(Step::Egress)?;
        }
        let counters = model.world.relay.counters();
        prop_assert_eq!(counters.forwarded(), model.arrived);
        prop_assert_eq!(counters.forwarded() + counters.dropped_total(), model.sent);
        prop_assert_eq!(model.world.relay.population().0 as usize,
            model.sessions.iter().filter(|(at, _)| !model.removed.contains(*at)).count());
    }
}
