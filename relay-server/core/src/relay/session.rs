//! One member's seat, as its connection sees it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::wire::relay::{Frame, FrameKind, readdress};
use parking_lot::Mutex;

use super::directory::Shared;
use super::party::Party;
use super::{DropReason, Verdict};

/// Sessions are numbered from the start of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A member's seat in its party. It does not end by itself: [`super::Relay::leave`] is for when the connection is over.
#[derive(Debug)]
pub struct Session<P> {
    pub(super) id: SessionId,
    pub(super) party_id: PartyId,
    pub(super) member: MemberId,
    pub(super) party: Arc<Mutex<Party<P>>>,
    pub(super) shared: Arc<Shared<P>>,
}

impl<P> Clone for Session<P> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            party_id: self.party_id,
            member: self.member,
            party: Arc::clone(&self.party),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What a port with room is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this, then ask again.
    Frame(Bytes),
    /// Nothing waits: frames come by [`Verdict::Pass`] again.
    Idle,
    /// Nothing may go now; what waits comes out of [`super::Relay::handle_egress`].
    Egress,
}

impl<P: Clone> Session<P> {
    /// Its number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    pub fn member(&self) -> (PartyId, MemberId) {
        (self.party_id, self.member)
    }

    /// A frame came from this member.
    pub fn handle_frame(&self, frame: Bytes, now: Instant) -> Verdict<P> {
        let to = match Frame::parse(&frame) {
            Ok(parsed) if parsed.kind == FrameKind::Data => parsed.member,
            _ => return self.shared.dropped(DropReason::Malformed, None),
        };
        // In place where nobody else has hold of the bytes.
        let mut frame = frame.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
        readdress(&mut frame, self.member);
        let mut party = self.party.lock();
        let verdict = party.handle_frame((self.member, self.id), to, frame.freeze(), &self.shared, now);
        let enters_line = matches!(verdict, Verdict::Wait { egress: true }) && !party.in_line;
        party.in_line |= enters_line;
        drop(party);
        self.enter_line(enters_line);
        verdict
    }

    /// This member's port had no room for a frame it was given. The frame waits; the port asks [`Session::next`] when it has room.
    pub fn hold(&self, frame: Bytes, now: Instant) {
        self.party.lock().hold(self.member, self.id, frame, &self.shared, now);
    }

    /// This member's port has room.
    pub fn next(&self, now: Instant) -> Next {
        let mut party = self.party.lock();
        let next = party.next(self.member, self.id, &self.shared, now);
        let enters_line = next == Err(true) && !party.in_line;
        party.in_line |= enters_line;
        drop(party);
        self.enter_line(enters_line);
        match next {
            Ok(frame) => Next::Frame(frame),
            Err(true) => Next::Egress,
            Err(false) => Next::Idle,
        }
    }

    fn enter_line(&self, enters: bool) {
        if enters {
            self.shared.egress.stand_in_line(Arc::clone(&self.party));
        }
    }
}
