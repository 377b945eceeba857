//! One party's seats: all that a session can send to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use lanrage_shared::ids::{IdentityKey, MemberId};
use lanrage_shared::wire::relay::{Frame, NoticeReason};

use super::directory::Shared;
use super::queue::Waiting;
use super::seat::{Popped, Seat};
use super::{DropReason, SessionId};

/// What becomes of a frame.
#[derive(Debug)]
pub enum Verdict<P> {
    /// Give it to this port now; what the port has no room for goes back through [`super::Session::hold`].
    Pass(Delivery<P>),
    /// It waits. With `egress`, until [`super::Relay::handle_egress`] lets it go; else until the port has room.
    Wait { egress: bool },
    /// It is gone, and counted. The sender is told with this frame, if there is one.
    Drop { reason: DropReason, notice: Option<Bytes> },
}

/// A frame on its way out.
#[derive(Debug)]
pub struct Delivery<P> {
    pub port: P,
    pub frame: Bytes,
}

/// The sessions of one party.
#[derive(Debug)]
pub(super) struct Party<P> {
    seats: BTreeMap<MemberId, Seat<P>>,
    /// Members for whom frames wait that only the egress rate holds up, in turn.
    round: VecDeque<MemberId>,
    /// Whether the party stands in the egress line.
    pub(super) in_line: bool,
}

/// Why a party's turn at the egress ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing waits any more.
    Done,
    /// It has had its share.
    Spent,
    /// The egress rate is used up.
    Egress,
}

impl<P: Clone> Party<P> {
    pub(super) fn new() -> Self {
        Self {
            seats: BTreeMap::new(),
            round: VecDeque::new(),
            in_line: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub(super) fn seat(&self, member: MemberId) -> Option<&Seat<P>> {
        self.seats.get(&member)
    }

    pub(super) fn seat_of(&mut self, member: MemberId, session: SessionId) -> Option<&mut Seat<P>> {
        self.seats.get_mut(&member).filter(|seat| seat.session == session)
    }

    pub(super) fn sit(&mut self, member: MemberId, seat: Seat<P>) {
        self.seats.insert(member, seat);
    }

    /// Frees the seat; gives it with the number of frames that waited for it.
    pub(super) fn stand_up(&mut self, member: MemberId) -> Option<(Seat<P>, usize)> {
        let seat = self.seats.remove(&member)?;
        let waited = seat.queue.len();
        Some((seat, waited))
    }

    /// The members whose sessions a removal of these keys ends.
    pub(super) fn seats_of(&self, removed: &[IdentityKey], epoch: u32) -> Vec<MemberId> {
        let gone = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.epoch < epoch && removed.contains(&seat.identity));
        gone.map(|(member, _)| *member).collect()
    }

    /// Forgets what waits from whoever has no seat; gives how many frames that were.
    pub(super) fn forget_frames_of_absent(&mut self) -> usize {
        let present: BTreeSet<MemberId> = self.seats.keys().copied().collect();
        let queues = self.seats.values_mut().map(|seat| &mut seat.queue);
        queues
            .map(|queue| queue.keep_from(|from| present.contains(&from)))
            .sum()
    }

    /// A frame of `from`, readdressed already, for `to`.
    pub(super) fn handle_frame(
        &mut self,
        (from, session): (MemberId, SessionId),
        to: MemberId,
        frame: Bytes,
        shared: &Shared<P>,
        now: Instant,
    ) -> Verdict<P> {
        let Some(sender) = self.seat_of(from, session) else {
            return shared.dropped(DropReason::SessionOver, None);
        };
        if !sender.spend(frame.len(), now) {
            let notice = sender.notice(to, NoticeReason::RateLimited, now);
            return shared.dropped(DropReason::RateLimited, notice);
        }
        if to == from {
            return shared.dropped(DropReason::ToSelf, None);
        }
        if !self.seats.contains_key(&to) {
            let sender = self.seat_of(from, session);
            let notice = sender.and_then(|sender| sender.notice(to, NoticeReason::NotConnected, now));
            return shared.dropped(DropReason::NotConnected, notice);
        }
        self.send(
            to,
            Waiting {
                frame,
                from,
                since: now,
                paid: false,
            },
            shared,
            now,
        )
    }

    fn send(&mut self, to: MemberId, waiting: Waiting, shared: &Shared<P>, now: Instant) -> Verdict<P> {
        let Some(seat) = self.seats.get_mut(&to) else {
            return shared.dropped(DropReason::NotConnected, None);
        };
        let idle = !seat.blocked && seat.queue.is_empty();
        if idle && shared.egress.take(waiting.frame.len(), now) {
            shared.counters.count_forwarded(waiting.frame.len());
            return Verdict::Pass(Delivery {
                port: seat.port.clone(),
                frame: waiting.frame,
            });
        }
        seat.push(waiting, shared, now);
        let egress = !seat.blocked;
        if egress {
            self.wait_for_egress(to);
        }
        Verdict::Wait { egress }
    }

    /// The port of `member` had no room for a frame that was passed on to it.
    pub(super) fn hold(
        &mut self,
        member: MemberId,
        session: SessionId,
        frame: Bytes,
        shared: &Shared<P>,
        now: Instant,
    ) {
        shared.counters.uncount_forwarded(frame.len());
        let from = Frame::parse(&frame).map(|frame| frame.member);
        let (Some(seat), Ok(from)) = (self.seat_of(member, session), from) else {
            shared.counters.count_drop(DropReason::SessionOver);
            return;
        };
        seat.blocked = true;
        seat.push(
            Waiting {
                frame,
                from,
                since: now,
                paid: true,
            },
            shared,
            now,
        );
    }

    /// The port of `member` has room for one more. Gives the frame, or whether one waits for the egress.
    pub(super) fn next(
        &mut self,
        member: MemberId,
        session: SessionId,
        shared: &Shared<P>,
        now: Instant,
    ) -> Result<Bytes, bool> {
        let seat = self.seat_of(member, session).ok_or(false)?;
        seat.blocked = false;
        match seat.pop(shared, now, usize::MAX) {
            Popped::Frame(frame) => {
                seat.blocked = true;
                Ok(frame)
            }
            Popped::Empty => Err(false),
            Popped::Egress | Popped::TooLong => {
                self.wait_for_egress(member);
                Err(true)
            }
        }
    }

    /// One turn at the egress, with `deficit` bytes to spend.
    pub(super) fn take_turn(
        &mut self,
        deficit: &mut usize,
        shared: &Shared<P>,
        now: Instant,
        out: &mut Vec<Delivery<P>>,
    ) -> Turn {
        while let Some(member) = self.round.pop_front() {
            let Some(seat) = self.seats.get_mut(&member).filter(|seat| seat.in_round) else {
                continue;
            };
            seat.in_round = false;
            if seat.blocked {
                // Its port takes the frames itself when it has room.
                continue;
            }
            match seat.pop(shared, now, *deficit) {
                Popped::Empty => continue,
                Popped::Frame(frame) => {
                    *deficit -= frame.len();
                    out.push(Delivery {
                        port: seat.port.clone(),
                        frame,
                    });
                    if !seat.queue.is_empty() {
                        seat.in_round = true;
                        self.round.push_back(member);
                    }
                }
                kept => {
                    seat.in_round = true;
                    self.round.push_front(member);
                    return if matches!(kept, Popped::Egress) {
                        Turn::Egress
                    } else {
                        Turn::Spent
                    };
                }
            }
        }
        Turn::Done
    }

    fn wait_for_egress(&mut self, member: MemberId) {
        if let Some(seat) = self.seats.get_mut(&member)
            && !seat.in_round
        {
            seat.in_round = true;
            self.round.push_back(member);
        }
    }
}
