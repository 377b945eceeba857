//! A WebSocket with its time limits: the one under the agents' streams and the relays' links.

use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use lanrage_shared::api::error::{ApiError, ErrorCode};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// How often the other end is asked whether it is still there. A relay takes a link that is silent for 15 s for broken.
const PING_EVERY: Duration = Duration::from_secs(5);
/// After this long without a word it is not.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest a message may wait for room in the socket. Whoever does not read for this long is gone or too slow.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Longest the parting words may take.
const PARTING_PATIENCE: Duration = Duration::from_secs(1);

/// The connection is over; there is nobody to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub(super) struct Gone;

/// What came in.
pub(super) enum Frame {
    Text(Utf8Bytes),
    Binary,
    /// A ping or a pong, which is answered already.
    Control,
}

/// Parting words of a server that stops.
pub(super) fn shutting_down() -> ApiError {
    ApiError::new(
        ErrorCode::Unavailable,
        "the server is restarting: come back in a moment",
    )
}

pub(super) struct Socket {
    socket: WebSocket,
    ping: Interval,
    heard: Instant,
}

impl Socket {
    pub(super) fn new(socket: WebSocket) -> Self {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket,
            ping,
            heard: Instant::now(),
        }
    }

    pub(super) async fn send(&mut self, text: String) -> Result<(), Gone> {
        self.write(Message::Text(text.into())).await
    }

    /// The next frame, while the other end shows that it is alive. Safe to drop halfway.
    pub(super) async fn receive(&mut self) -> Result<Frame, Gone> {
        loop {
            tokio::select! {
                frame = self.socket.recv() => {
                    let frame = frame.ok_or(Gone)?.map_err(|_| Gone)?;
                    self.heard = Instant::now();
                    return match frame {
                        Message::Text(text) => Ok(Frame::Text(text)),
                        Message::Binary(_) => Ok(Frame::Binary),
                        Message::Ping(_) | Message::Pong(_) => Ok(Frame::Control),
                        Message::Close(_) => Err(Gone),
                    };
                }
                _ = self.ping.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(Gone);
                    }
                    self.write(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    /// Parting words, as far as the other end takes them.
    pub(super) async fn part(mut self, text: String) {
        let parting = async {
            self.send(text).await?;
            self.socket.send(Message::Close(None)).await.map_err(|_| Gone)
        };
        // Gone already: then there is nobody to part from.
        let _ = timeout(PARTING_PATIENCE, parting).await;
    }

    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(WRITE_PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}
