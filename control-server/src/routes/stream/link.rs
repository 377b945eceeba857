//! The socket, with its time limits.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::stream::{ClientMessage, ServerMessage};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// How often the other end is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// After this long without a word it is not.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest a message may wait for room in the socket. Whoever does not read for this long is gone or too slow.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Longest the parting words may take.
const BYE_PATIENCE: Duration = Duration::from_secs(1);

/// Frames a member may send, pings and pongs included: hole punching takes a few per peer and second, for a moment.
const FRAMES_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
const FRAME_BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Refusals a stream outlives: an agent of another version may send something we do not know now and then, and one in a large
/// party may say too much at once.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();
const REFUSAL_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// The stream is over; there is nobody to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub(super) struct Gone;

/// What came in.
pub(super) enum Incoming {
    Message(ClientMessage),
    /// Not a message of this stream; the sentence says why.
    Malformed(String),
    /// One frame more than the member may send; it was not looked at.
    TooMany,
}

pub(super) struct Link {
    socket: WebSocket,
    ping: Interval,
    heard: Instant,
    frames: DefaultDirectRateLimiter,
    refusals: DefaultDirectRateLimiter,
}

impl Link {
    pub(super) fn new(socket: WebSocket) -> Self {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket,
            ping,
            heard: Instant::now(),
            frames: RateLimiter::direct(Quota::per_second(FRAMES_PER_SECOND).allow_burst(FRAME_BURST)),
            refusals: RateLimiter::direct(Quota::per_second(REFUSALS_PER_SECOND).allow_burst(REFUSAL_BURST)),
        }
    }

    /// Counts one refusal; false when there were so many that the stream should end.
    pub(super) fn may_refuse(&self) -> bool {
        self.refusals.check().is_ok()
    }

    pub(super) async fn send(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        let message = Message::Text(message.to_text().into());
        self.write(message).await
    }

    /// The next message, while the other end shows that it is alive. Safe to drop halfway.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Gone> {
        loop {
            tokio::select! {
                frame = self.socket.recv() => {
                    let frame = frame.ok_or(Gone)?.map_err(|_| Gone)?;
                    self.heard = Instant::now();
                    if self.frames.check().is_err() {
                        return Ok(Incoming::TooMany);
                    }
                    match frame {
                        Message::Text(text) => return Ok(parse(&text)),
                        Message::Binary(_) => return Ok(Incoming::Malformed("messages are text, not binary".into())),
                        Message::Ping(_) | Message::Pong(_) => {}
                        Message::Close(_) => return Err(Gone),
                    }
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
    pub(super) async fn bye(mut self, error: ApiError, retry: bool) {
        let parting = async {
            self.send(&ServerMessage::Bye { error, retry }).await?;
            self.socket.send(Message::Close(None)).await.map_err(|_| Gone)
        };
        // Gone already: then there is nobody to part from.
        let _ = timeout(BYE_PATIENCE, parting).await;
    }

    async fn write(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(WRITE_PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn parse(text: &str) -> Incoming {
    match ClientMessage::parse(text) {
        Ok(message) => Incoming::Message(message),
        Err(error) => Incoming::Malformed(error.to_string()),
    }
}

/// The refusal of what is not a message.
pub(super) fn malformed(sentence: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, sentence)
}
