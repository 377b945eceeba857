//! A member's seat: its rate, and what waits for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_shared::ids::{IdentityKey, MemberId};
use lanrage_shared::wire::relay::{Frame, FrameKind, NoticeReason};

use super::directory::Shared;
use super::queue::{Queue, Waiting};
use super::rate::Bucket;
use super::{DropReason, Limits, SessionId};

/// A member may send this much of its rate at once: games send their state in bursts, 20 or 60 times a second.
const MEMBER_BURST: Duration = Duration::from_millis(100);
/// Notices of one kind that a member gets in a second.
const NOTICES_PER_S: u64 = 16;
const NOTICE_BURST: Duration = Duration::from_secs(1);

/// Where one member sits, and on what terms.
#[derive(Debug)]
pub(super) struct Seat<P> {
    pub(super) session: SessionId,
    pub(super) port: P,
    pub(super) identity: IdentityKey,
    pub(super) epoch: u32,
    /// Unix seconds.
    pub(super) expires_at: u64,
    frames: Bucket,
    bytes: Bucket,
    not_connected: Bucket,
    rate_limited: Bucket,
    pub(super) queue: Queue,
    /// Whether the port said that it has no room, and not yet that it has.
    pub(super) blocked: bool,
    pub(super) in_round: bool,
}

/// What came out of a queue.
pub(super) enum Popped {
    Frame(Bytes),
    Empty,
    /// One waits, but the egress rate is used up.
    Egress,
    /// One waits, but it is longer than was asked for.
    TooLong,
}

impl<P> Seat<P> {
    pub(super) fn new(
        session: SessionId,
        port: P,
        (identity, epoch, expires_at): (IdentityKey, u32, u64),
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let notices = || Bucket::new(NOTICES_PER_S, NOTICE_BURST, now);
        Self {
            session,
            port,
            identity,
            epoch,
            expires_at,
            frames: Bucket::new(limits.member_frames_per_s.into(), MEMBER_BURST, now),
            bytes: Bucket::new(limits.member_bytes_per_s, MEMBER_BURST, now),
            not_connected: notices(),
            rate_limited: notices(),
            queue: Queue::default(),
            blocked: false,
            in_round: false,
        }
    }

    /// Takes a frame of this length out of the member's rate. Both rates are charged even when one is used up: whoever goes
    /// over gets no better terms for it.
    pub(super) fn spend(&mut self, length: usize, now: Instant) -> bool {
        self.frames.take(1, now) & self.bytes.take(length, now)
    }

    /// Tells the member that its frame for `to` was dropped, unless it was told often enough.
    pub(super) fn notice(&mut self, to: MemberId, reason: NoticeReason, now: Instant) -> Option<Bytes> {
        let bucket = match reason {
            NoticeReason::NotConnected => &mut self.not_connected,
            NoticeReason::RateLimited => &mut self.rate_limited,
        };
        bucket.take(1, now).then(|| written(to, reason))
    }

    pub(super) fn push(&mut self, waiting: Waiting, shared: &Shared<P>, now: Instant) {
        let stale = self.queue.drop_stale(now);
        let full = self.queue.push(waiting);
        shared.counters.count_queued();
        shared.counters.count_drops(DropReason::Stale, stale);
        shared.counters.count_drops(DropReason::QueueFull, full);
    }

    /// The oldest frame that is still worth sending, if it has at most `longest` bytes.
    pub(super) fn pop(&mut self, shared: &Shared<P>, now: Instant, longest: usize) -> Popped {
        let stale = self.queue.drop_stale(now);
        shared.counters.count_drops(DropReason::Stale, stale);
        let Some(waiting) = self.queue.pop() else {
            return Popped::Empty;
        };
        let length = waiting.frame.len();
        let kept = if length > longest {
            Popped::TooLong
        } else if waiting.paid || shared.egress.take_in_turn(length, now) {
            shared.counters.count_forwarded(length);
            return Popped::Frame(waiting.frame);
        } else {
            Popped::Egress
        };
        self.queue.put_back(waiting);
        kept
    }
}

fn written(to: MemberId, reason: NoticeReason) -> Bytes {
    let payload = [reason.number()];
    let frame = Frame {
        kind: FrameKind::Notice,
        ..Frame::data(to, &payload)
    };
    let mut bytes = Vec::with_capacity(frame.len());
    frame.write(&mut bytes);
    bytes.into()
}
