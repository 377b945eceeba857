//! The agent's socket, with what it may send.

use std::num::NonZeroU32;

use axum::extract::ws::WebSocket;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lanrage_shared::api::error::ApiError;
use lanrage_shared::stream::{ClientMessage, ServerMessage};

use crate::limits::StreamLimits;
use crate::routes::socket::{Frame, Gone, Socket};

/// Refusals a stream outlives: an agent of another version may send something we do not know now and then, and one in a large
/// party may say too much at once.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();
const REFUSAL_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// What came in.
pub(super) enum Incoming {
    Message(ClientMessage),
    /// Not a message of this stream; the sentence says why.
    Malformed(String),
    /// One frame more than the member may send; it was not looked at.
    TooMany,
}

pub(super) struct Link {
    socket: Socket,
    frames: DefaultDirectRateLimiter,
    refusals: DefaultDirectRateLimiter,
}

impl Link {
    pub(super) fn new(socket: WebSocket, limits: &StreamLimits) -> Self {
        let frames = Quota::per_second(limits.messages_per_second.get()).allow_burst(limits.message_burst.get());
        Self {
            socket: Socket::new(socket),
            frames: RateLimiter::direct(frames),
            refusals: RateLimiter::direct(Quota::per_second(REFUSALS_PER_SECOND).allow_burst(REFUSAL_BURST)),
        }
    }

    /// Counts one refusal; false when there were so many that the stream should end.
    pub(super) fn may_refuse(&self) -> bool {
        self.refusals.check().is_ok()
    }

    pub(super) async fn send(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        self.socket.send(message.to_text()).await
    }

    /// The next message. Safe to drop halfway.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Gone> {
        loop {
            let frame = self.socket.receive().await?;
            if self.frames.check().is_err() {
                return Ok(Incoming::TooMany);
            }
            match frame {
                Frame::Text(text) => return Ok(parse(&text)),
                Frame::Binary => return Ok(Incoming::Malformed("messages are text, not binary".into())),
                Frame::Control => {}
            }
        }
    }

    /// Parting words, as far as the other end takes them.
    pub(super) async fn bye(self, error: ApiError, retry: bool) {
        self.socket.part(ServerMessage::Bye { error, retry }.to_text()).await;
    }
}

fn parse(text: &str) -> Incoming {
    match ClientMessage::parse(text) {
        Ok(message) => Incoming::Message(message),
        Err(error) => Incoming::Malformed(error.to_string()),
    }
}
