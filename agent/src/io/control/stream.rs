//! The control stream: presence and signals up, changes of the party and signals down.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use lanrage_shared::stream::{ClientMessage, MAX_MESSAGE, ServerMessage};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use super::ControlError;

/// The server pings every 10 s; three missed ones mean that nobody is there.
const SILENCE: Duration = Duration::from_secs(30);
/// A server that takes nothing for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// An open stream.
pub struct ControlStream {
    sink: ControlSink,
    source: ControlSource,
}

/// The half that speaks.
pub struct ControlSink {
    socket: SplitSink<Socket, Message>,
    server: String,
}

/// The half that listens. It has to be listened to: that is also what answers the server's pings.
pub struct ControlSource {
    socket: SplitStream<Socket>,
    server: String,
    heard: Instant,
}

impl ControlStream {
    pub(super) async fn start(
        io: TokioIo<Upgraded>,
        server: String,
        hello: ClientMessage,
    ) -> Result<Self, ControlError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
        let (sink, source) = socket.split();
        let mut stream = Self {
            sink: ControlSink {
                socket: sink,
                server: server.clone(),
            },
            source: ControlSource {
                socket: source,
                server,
                heard: Instant::now(),
            },
        };
        stream.send(&hello).await?;
        Ok(stream)
    }

    /// See [`ControlSource::next`].
    pub async fn next(&mut self) -> Result<ServerMessage, ControlError> {
        self.source.next().await
    }

    /// See [`ControlSink::send`].
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), ControlError> {
        self.sink.send(message).await
    }

    /// For two tasks.
    pub fn split(self) -> (ControlSink, ControlSource) {
        (self.sink, self.source)
    }
}

impl ControlSink {
    /// Sends a message. After an error the stream is of no more use.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), ControlError> {
        match timeout(SEND_TIMEOUT, self.socket.send(Message::text(message.to_text()))).await {
            Ok(sent) => sent.map_err(|error| ended(&self.server, error)),
            Err(_) => Err(lost(&self.server, "it takes no more messages")),
        }
    }

    /// Says goodbye, so that the server need not wait for the silence.
    pub async fn close(mut self) {
        // The server notices in any case.
        let _ = timeout(Duration::from_secs(1), self.socket.close()).await;
    }
}

impl ControlSource {
    /// The next message. Messages of a kind this version does not know are passed over. 30 s without a sign of life from the
    /// server, and everything that ends the stream, is an error. Safe to cancel.
    pub async fn next(&mut self) -> Result<ServerMessage, ControlError> {
        loop {
            // From when something was heard, not from this call, which may be one of many cancelled ones.
            let received = timeout_at(self.heard + SILENCE, self.socket.next())
                .await
                .map_err(|_| lost(&self.server, "it has been silent for 30 s"))?
                .ok_or_else(|| lost(&self.server, "it hung up"))?
                .map_err(|error| ended(&self.server, error))?;
            self.heard = Instant::now();
            match received {
                Message::Text(text) => match ServerMessage::parse(&text) {
                    Ok(message) => return Ok(message),
                    Err(error) => debug!(%error, "passed over a message of the control stream"),
                },
                Message::Close(_) => return Err(lost(&self.server, "it hung up")),
                // Pings are answered by the socket when it is next polled, which is now.
                _ => {}
            }
        }
    }
}

fn lost(server: &str, why: impl ToString) -> ControlError {
    ControlError::Unreachable {
        server: server.to_owned(),
        why: why.to_string(),
    }
}

fn ended(server: &str, error: Error) -> ControlError {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => lost(server, "it hung up"),
        Error::Io(error) => lost(server, error),
        error => ControlError::Protocol(format!("the control stream broke its rules ({error})")),
    }
}
