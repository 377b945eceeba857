//! The half of a session that sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{Frame, HEADER_LEN, MAX_PAYLOAD, RELAY_SPLITS, ToRelay, split};
use tokio::sync::mpsc;

use crate::control;
use crate::{SendError, Transport};

/// Control messages on their way to the relay; there is one every few minutes.
pub(crate) const CONTROL_QUEUE: usize = 8;

/// Sends to members of the party. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RelaySender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    splits: AtomicU16,
}

/// What carries the frames.
#[derive(Debug)]
pub(crate) enum Link {
    Quic {
        connection: quinn::Connection,
        control: mpsc::Sender<ToRelay>,
        exported: [u8; 32],
    },
    Tcp {
        frames: mpsc::Sender<Bytes>,
        exported: [u8; 32],
        /// Frames handed over, and frames that came.
        sent: AtomicU64,
        heard: Arc<AtomicU64>,
    },
}

impl RelaySender {
    pub(crate) fn new(link: Link) -> Self {
        Self(Arc::new(Inner {
            link,
            splits: AtomicU16::new(0),
        }))
    }

    /// Sends at once or not at all; like any packet it may be lost on the way.
    pub fn send(&self, to: MemberId, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(SendError::TooLong);
        }
        let whole = written(Frame::data(to, payload));
        match &self.0.link {
            Link::Tcp { frames, sent, .. } => {
                // What finds no room counts, too: a connection that is stuck has not been silent by its own will.
                sent.fetch_add(1, Ordering::Relaxed);
                frames.try_send(whole).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => SendError::NoRoom,
                    mpsc::error::TrySendError::Closed(_) => SendError::Closed,
                })
            }
            Link::Quic { connection, .. } => match connection.send_datagram(whole) {
                Ok(()) => Ok(()),
                Err(quinn::SendDatagramError::TooLarge) => self.send_split(connection, to, payload),
                Err(_) => Err(SendError::Closed),
            },
        }
    }

    fn send_split(&self, connection: &quinn::Connection, to: MemberId, payload: &[u8]) -> Result<(), SendError> {
        let budget = connection.max_datagram_size().ok_or(SendError::Closed)?;
        let number = self.0.splits.fetch_add(1, Ordering::Relaxed) % RELAY_SPLITS;
        let (first, second) = split(to, payload, budget, number).ok_or(SendError::TooLong)?;
        for frame in [Some(first), second].into_iter().flatten() {
            connection.send_datagram(written(frame)).map_err(|error| match error {
                // The path's budget fell in between.
                quinn::SendDatagramError::TooLarge => SendError::TooLong,
                _ => SendError::Closed,
            })?;
        }
        Ok(())
    }

    /// Shows a newer token, before the old one ends or after the epoch changed. The answer is an
    /// [`Event::Welcome`](crate::Event::Welcome), or the end of the session.
    pub async fn renew(&self, credentials: &crate::Credentials) -> Result<(), SendError> {
        let message = |exported| ToRelay::Renew {
            hello: credentials.hello(exported),
        };
        match &self.0.link {
            Link::Quic { control, exported, .. } => {
                control.send(message(exported)).await.map_err(|_| SendError::Closed)
            }
            Link::Tcp { frames, exported, .. } => {
                let frame = control::to_frame(&message(exported)).map_err(|_: io::Error| SendError::TooLong)?;
                frames.send(frame).await.map_err(|_| SendError::Closed)
            }
        }
    }

    /// How it travels.
    pub fn transport(&self) -> Transport {
        match self.0.link {
            Link::Quic { .. } => Transport::Quic,
            Link::Tcp { .. } => Transport::Tcp,
        }
    }

    /// The round trip to the relay as QUIC measures it; none over TCP.
    pub fn rtt(&self) -> Option<Duration> {
        match &self.0.link {
            Link::Quic { connection, .. } => Some(connection.rtt()),
            Link::Tcp { .. } => None,
        }
    }

    /// How much was sent that the relay should answer, and how much was heard of it: packets over QUIC, which acknowledges
    /// every one, and frames over TCP.
    pub fn traffic(&self) -> (u64, u64) {
        match &self.0.link {
            Link::Quic { connection, .. } => {
                let stats = connection.stats();
                // Not pings: those that look for a larger packet size are meant to get lost.
                let sent = stats.frame_tx.datagram + stats.frame_tx.stream;
                (sent, stats.udp_rx.datagrams)
            }
            Link::Tcp { sent, heard, .. } => (sent.load(Ordering::Relaxed), heard.load(Ordering::Relaxed)),
        }
    }

    /// Whether a payload of this length can be sent over QUIC without the oldest of those that wait giving way; over TCP what
    /// finds no room is refused.
    pub fn has_room(&self, length: usize) -> bool {
        match &self.0.link {
            Link::Quic { connection, .. } => connection.datagram_send_buffer_space() >= HEADER_LEN + length,
            Link::Tcp { .. } => true,
        }
    }

    /// Longest payload that travels in one frame now; longer ones are split.
    pub fn whole_payload(&self) -> usize {
        let budget = match &self.0.link {
            Link::Quic { connection, .. } => connection.max_datagram_size().unwrap_or_default(),
            Link::Tcp { .. } => HEADER_LEN + MAX_PAYLOAD,
        };
        budget.saturating_sub(HEADER_LEN).min(MAX_PAYLOAD)
    }

    /// Ends the session. Over TCP it ends when the events are dropped, too.
    pub fn close(&self) {
        if let Link::Quic { connection, .. } = &self.0.link {
            connection.close(quinn::VarInt::from_u32(0), b"");
        }
    }
}

fn written(frame: Frame<'_>) -> Bytes {
    let mut bytes = Vec::with_capacity(frame.len());
    frame.write(&mut bytes);
    bytes.into()
}
