//! The half of a session that listens.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use lanrage_shared::api::error::ApiError;
use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::{Frame, FrameKind, FromRelay, NoticeReason};
use tokio::io::ReadHalf;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;

use crate::control;
use crate::frames::FrameReader;
use crate::rejoin::Rejoin;

/// What a relay says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member of the party sent this.
    Packet { from: MemberId, payload: Bytes },
    /// Something sent to this member was not passed on.
    Undelivered { to: MemberId, reason: NoticeReason },
    /// A renewal was accepted: until when, in Unix seconds of the control server.
    Welcome { expires_at: u64 },
    /// The relay stops in so many seconds.
    Drain { seconds: u16 },
    /// The relay ended the session. The last event.
    Ended(ApiError),
    /// The connection broke. The last event.
    Lost(String),
}

/// Gives what the relay says, in order. Dropping it ends the session.
#[derive(Debug)]
pub struct RelayEvents {
    source: Source,
    rejoin: Rejoin,
}

#[derive(Debug)]
enum Source {
    Quic {
        connection: quinn::Connection,
        control: mpsc::Receiver<FromRelay>,
    },
    Tcp {
        frames: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
        heard: Arc<AtomicU64>,
        /// Dropped with this, which ends the writing half.
        _writer: oneshot::Sender<()>,
    },
}

enum Heard {
    Frame(Bytes),
    Control(FromRelay),
    End(Event),
}

impl RelayEvents {
    pub(crate) fn quic(connection: quinn::Connection, control: mpsc::Receiver<FromRelay>) -> Self {
        Self::new(Source::Quic { connection, control })
    }

    pub(crate) fn tcp(
        frames: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
        heard: Arc<AtomicU64>,
        writer: oneshot::Sender<()>,
    ) -> Self {
        Self::new(Source::Tcp {
            frames,
            heard,
            _writer: writer,
        })
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            rejoin: Rejoin::default(),
        }
    }

    /// The next event. Safe to cancel.
    pub async fn next(&mut self) -> Event {
        loop {
            let event = match self.source.hear().await {
                Heard::Frame(frame) => self.read(&frame),
                Heard::Control(message) => Some(said(message)),
                Heard::End(event) => Some(event),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn read(&mut self, bytes: &Bytes) -> Option<Event> {
        let frame = Frame::parse(bytes)
            .inspect_err(|error| tracing::trace!(%error, "passed over what the relay sent"))
            .ok()?;
        match frame.kind {
            FrameKind::Data => {
                let payload = bytes.slice_ref(frame.payload);
                let payload = self.rejoin.handle(frame.member, frame.part, payload, Instant::now())?;
                Some(Event::Packet {
                    from: frame.member,
                    payload,
                })
            }
            FrameKind::Notice => Some(Event::Undelivered {
                to: frame.member,
                reason: NoticeReason::from_payload(frame.payload)?,
            }),
            FrameKind::Control => control::from_payload(frame.payload).ok().map(said),
        }
    }
}

impl Drop for RelayEvents {
    fn drop(&mut self) {
        if let Source::Quic { connection, .. } = &self.source {
            connection.close(quinn::VarInt::from_u32(0), b"");
        }
    }
}

impl Source {
    async fn hear(&mut self) -> Heard {
        match self {
            Self::Quic { connection, control } => {
                tokio::select! {
                    biased;
                    Some(message) = control.recv() => Heard::Control(message),
                    datagram = connection.read_datagram() => match datagram {
                        Ok(frame) => Heard::Frame(frame),
                        // What it said before it hung up comes first.
                        Err(error) => match control.recv().await {
                            Some(message) => Heard::Control(message),
                            None => Heard::End(hung_up(&error)),
                        },
                    },
                }
            }
            Self::Tcp { frames, heard, .. } => match frames.next().await {
                Ok(Some(frame)) => {
                    heard.fetch_add(1, Ordering::Relaxed);
                    Heard::Frame(frame)
                }
                Ok(None) => Heard::End(Event::Lost("the relay hung up".to_owned())),
                Err(error) => Heard::End(Event::Lost(error.to_string())),
            },
        }
    }
}

fn said(message: FromRelay) -> Event {
    match message {
        FromRelay::Welcome { expires_at } => Event::Welcome { expires_at },
        FromRelay::Drain { seconds } => Event::Drain { seconds },
        FromRelay::Bye { error } => Event::Ended(error),
    }
}

fn hung_up(error: &quinn::ConnectionError) -> Event {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => match bye(close) {
            Some(error) => Event::Ended(error),
            None => Event::Lost("the relay hung up".to_owned()),
        },
        error => Event::Lost(error.to_string()),
    }
}

/// A relay that ends a connection gives its reason with the last packet, too: the control channel may not get it across.
pub(crate) fn bye(close: &quinn::ApplicationClose) -> Option<ApiError> {
    control::from_payload(&close.reason)
        .inspect_err(|error: &io::Error| tracing::trace!(%error, "the relay gave no reason"))
        .ok()
}
