//! Keeps the control stream open: connects, says what is already known, and comes back with full jitter when it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::ids::PartyId;
use lanrage_shared::stream::{ClientMessage, ServerMessage};
use tokio::sync::{Notify, mpsc};
use tracing::Instrument;

use crate::io::control::{Backoff, ControlClient, ControlError, ControlStream};

/// Messages waiting in either direction. A party of 254 that comes online at once.
const QUEUE: usize = 512;

/// What the stream tells the agent's loop.
pub enum StreamEvent {
    Message(ServerMessage),
    /// The stream broke or could not be opened; it is being tried again. In words.
    Lost(String),
    /// The server says not to come back. In words.
    Over(String),
}

/// A stream being kept open. Dropping it closes the stream.
pub struct Stream {
    outgoing: mpsc::Sender<ClientMessage>,
    moved: Arc<Notify>,
    hurry: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    /// Starts keeping the stream of `party` open. `known` is the last sequence number known, updated by the receiver of
    /// the events.
    pub fn start(
        client: Arc<ControlClient>,
        party: PartyId,
        known: Arc<AtomicU64>,
        known_secret: Arc<AtomicU32>,
    ) -> (Self, mpsc::Receiver<StreamEvent>) {
        let (outgoing, from_agent) = mpsc::channel(QUEUE);
        let (to_agent, events) = mpsc::channel(QUEUE);
        let moved = Arc::new(Notify::new());
        let hurry = Arc::new(Notify::new());
        let keeper = Keeper {
            moved: Arc::clone(&moved),
            hurry: Arc::clone(&hurry),
            client,
            party,
            known,
            known_secret,
            to_agent,
            from_agent,
        };
        (
            Self {
                outgoing,
                moved,
                hurry,
                task: tokio::spawn(keeper.run().in_current_span()),
            },
            events,
        )
    }

    /// Sends a message if the stream is open; what cannot be sent now is out of date when it could.
    pub fn send(&self, message: ClientMessage) {
        let _ = self.outgoing.try_send(message);
    }

    /// This PC is on another network, or was away: a connection from before is dead, and nobody would say so for half a minute.
    pub fn handle_network_change(&self) {
        self.moved.notify_one();
    }

    /// Ends the pause before the next attempt, if there is one.
    pub fn hurry(&self) {
        self.hurry.notify_waiters();
    }
}

struct Keeper {
    moved: Arc<Notify>,
    hurry: Arc<Notify>,
    client: Arc<ControlClient>,
    party: PartyId,
    known: Arc<AtomicU64>,
    known_secret: Arc<AtomicU32>,
    to_agent: mpsc::Sender<StreamEvent>,
    from_agent: mpsc::Receiver<ClientMessage>,
}

enum End {
    Broken(String),
    /// This PC is on another network.
    Moved,
    Over(String),
    /// The agent's loop is gone.
    Unwanted,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            // What was meant for the last stream is out of date.
            while self.from_agent.try_recv().is_ok() {}
            self.moved.notified().now_or_never();
            let since = Some(self.known.load(Ordering::Relaxed)).filter(|seq| *seq > 0);
            let hello = ClientMessage::Hello {
                party: self.party,
                since,
                secret_epoch: self.known_secret.load(Ordering::Relaxed),
            };
            let opened = tokio::select! {
                opened = self.client.open_stream(hello) => Some(opened),
                () = self.moved.notified() => None,
            };
            let end = match opened {
                Some(Ok(stream)) => {
                    backoff.handle_connected(Instant::now());
                    self.carry(stream).await
                }
                Some(Err(error)) => end_of(error),
                None => End::Moved,
            };
            let has_moved = matches!(end, End::Moved);
            let event = match end {
                End::Broken(why) => StreamEvent::Lost(why),
                End::Moved => {
                    self.client.forget_connection().await;
                    StreamEvent::Lost("this PC is on another network".to_owned())
                }
                End::Over(why) => {
                    let _ = self.to_agent.send(StreamEvent::Over(why)).await;
                    return;
                }
                End::Unwanted => return,
            };
            if self.to_agent.send(event).await.is_err() {
                return;
            }
            if has_moved {
                backoff = Backoff::default();
                continue;
            }
            let pause = backoff.handle_failure(Instant::now(), rand::random());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
                () = self.moved.notified() => backoff = Backoff::default(),
            }
        }
    }

    async fn carry(&mut self, stream: ControlStream) -> End {
        let (mut sink, mut source) = stream.split();
        loop {
            tokio::select! {
                message = source.next() => match message {
                    Ok(ServerMessage::Bye { error, .. }) => return end_of(ControlError::Refused(error)),
                    Ok(message) => if self.to_agent.send(StreamEvent::Message(message)).await.is_err() {
                        return End::Unwanted;
                    },
                    Err(error) => return end_of(error),
                },
                message = self.from_agent.recv() => match message {
                    Some(message) => if let Err(error) = sink.send(&message).await {
                        return end_of(error);
                    },
                    None => return End::Unwanted,
                },
                () = self.moved.notified() => return End::Moved,
            }
        }
    }
}

/// Only the server's word that this device does not belong here ends the stream for good.
fn end_of(error: ControlError) -> End {
    match &error {
        ControlError::Refused(refusal) if matches!(refusal.code, ErrorCode::NotAMember | ErrorCode::NotFound) => {
            End::Over(refusal.message.clone())
        }
        _ => End::Broken(error.to_string()),
    }
}
