//! One member's connection, as frames for it see it.

use std::pin::pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use lanrage_relay_core::relay::{Counters, DropReason, Next, Session};
use lanrage_shared::api::error::ApiError;
use lanrage_shared::wire::relay::{Frame, FromRelay, Part, RELAY_SPLITS, split};
use quinn::SendDatagramError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Control messages on their way to one member: a welcome, a drain and what renewals bring.
pub(super) const CONTROL_QUEUE: usize = 8;

/// What carries the frames.
#[derive(Debug)]
pub(super) enum Link {
    Quic(quinn::Connection),
    Tcp(mpsc::Sender<Bytes>),
}

/// A member's connection.
#[derive(Debug)]
pub(super) struct Port {
    link: Link,
    control: mpsc::Sender<FromRelay>,
    counters: Arc<Counters>,
    session: OnceLock<Session<Arc<Port>>>,
    /// The pump has something to do.
    held: Notify,
    splits: AtomicU16,
    goodbye: OnceLock<ApiError>,
    over: CancellationToken,
}

enum Given {
    Sent,
    /// There is no room; the frame is given back.
    Full(Bytes),
    TooLarge(Bytes),
    Closed,
}

impl Port {
    pub(super) fn new(link: Link, control: mpsc::Sender<FromRelay>, counters: Arc<Counters>) -> Self {
        Self {
            link,
            control,
            counters,
            session: OnceLock::new(),
            held: Notify::new(),
            splits: AtomicU16::new(0),
            goodbye: OnceLock::new(),
            over: CancellationToken::new(),
        }
    }

    /// The session that was given for this port.
    pub(super) fn seat(&self, session: Session<Arc<Self>>) {
        // Once: a connection says one hello.
        let _ = self.session.set(session);
    }

    /// Sends a frame, or lets it wait.
    pub(super) fn give(&self, frame: Bytes, now: Instant) {
        match self.try_send(frame) {
            Given::Sent => {}
            Given::Full(frame) => match self.session.get() {
                Some(session) => {
                    session.hold(frame, now);
                    self.held.notify_one();
                }
                None => self.counters.count_drop(DropReason::SessionOver),
            },
            Given::TooLarge(frame) => self.give_split(&frame),
            Given::Closed => self.counters.count_drop(DropReason::PortClosed),
        }
    }

    /// Tells the member of a frame of its own that was dropped, if there is room for that.
    pub(super) fn notice(&self, notice: Bytes) {
        // The next frame to the same member brings another.
        let _ = self.try_send(notice);
    }

    /// Says something on the control channel. A member that lets its messages pile up misses this one.
    pub(super) fn say(&self, message: FromRelay) {
        if self.control.try_send(message).is_err() {
            tracing::debug!("a member takes no control messages");
        }
    }

    /// Ends the connection with this reason; the first one counts.
    pub(super) fn end(&self, reason: ApiError) {
        let _ = self.goodbye.set(reason);
        self.over.cancel();
    }

    /// The connection is over without a reason of the relay's.
    pub(super) fn hung_up(&self) {
        self.over.cancel();
    }

    /// Resolves when the port was ended; why, if there is anybody left to tell.
    pub(super) async fn ended(&self) -> Option<ApiError> {
        self.over.cancelled().await;
        self.goodbye.get().cloned()
    }

    /// Sends what waits, whenever there is room, as long as it is polled. `egress` is told when something waits for that.
    pub(super) async fn pump(&self, egress: &Notify) {
        let Some(session) = self.session.get() else { return };
        loop {
            self.held.notified().await;
            loop {
                match session.next(Instant::now()) {
                    Next::Frame(frame) => self.send(frame).await,
                    Next::Idle => break,
                    Next::Egress => {
                        egress.notify_one();
                        break;
                    }
                }
            }
        }
    }

    /// Sends a frame once there is room.
    async fn send(&self, frame: Bytes) {
        let sent = match &self.link {
            Link::Tcp(frames) => frames.send(frame).await.map_err(|_| SendDatagramError::Disabled),
            Link::Quic(connection) => connection.send_datagram_wait(frame.clone()).await.inspect_err(|error| {
                if matches!(error, SendDatagramError::TooLarge) {
                    self.give_split(&frame);
                }
            }),
        };
        match sent {
            Ok(()) | Err(SendDatagramError::TooLarge) => {}
            Err(_) => self.counters.count_drop(DropReason::PortClosed),
        }
    }

    fn try_send(&self, frame: Bytes) -> Given {
        match &self.link {
            Link::Tcp(frames) => match frames.try_send(frame) {
                Ok(()) => Given::Sent,
                Err(mpsc::error::TrySendError::Full(frame)) => Given::Full(frame),
                Err(mpsc::error::TrySendError::Closed(_)) => Given::Closed,
            },
            Link::Quic(connection) => {
                // Polled once: with room for the datagram it is sent under one lock, without one nothing is.
                let sending = pin!(connection.send_datagram_wait(frame.clone()));
                match sending.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(())) => Given::Sent,
                    Poll::Ready(Err(SendDatagramError::TooLarge)) => Given::TooLarge(frame),
                    Poll::Ready(Err(_)) => Given::Closed,
                    Poll::Pending => Given::Full(frame),
                }
            }
        }
    }

    /// The receiver's path takes less than the sender's: the relay splits for it.
    fn give_split(&self, frame: &[u8]) {
        let (Link::Quic(connection), Ok(frame)) = (&self.link, Frame::parse(frame)) else {
            return;
        };
        let number = RELAY_SPLITS | self.splits.fetch_add(1, Ordering::Relaxed);
        let budget = connection.max_datagram_size().unwrap_or_default();
        let halves = (frame.part == Part::Whole)
            .then(|| split(frame.member, frame.payload, budget, number))
            .flatten();
        let Some((first, second)) = halves else {
            return self.counters.count_drop(DropReason::TooLarge);
        };
        for half in [Some(first), second].into_iter().flatten() {
            let mut bytes = Vec::with_capacity(half.len());
            half.write(&mut bytes);
            if connection.send_datagram(bytes.into()).is_err() {
                return self.counters.count_drop(DropReason::PortClosed);
            }
        }
    }
}
