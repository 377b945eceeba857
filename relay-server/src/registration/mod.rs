//! Keeps the relay known to its control server, and the control server's word in force at the relay.
//!
//! One WebSocket (`GET /v1/relay-link`): the relay registers with the last revocation it knows, gets what it missed, and
//! acknowledges each. Every 5 s it says how it is doing. When the link breaks, sessions go on; what was revoked, and the key
//! tokens are signed with, are kept on disk, so that a relay that restarts meanwhile lets the right ones in.

mod error;
mod kept;
mod link;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use lanrage_shared::api::relay::{ControlMessage, RelayMessage};
use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::Pin;
use lanrage_shared::invite::ServerLink;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

pub use self::error::{KeptError, LinkError};
pub use self::link::RegisterToken;

use self::kept::Kept;
use self::link::Link;
use crate::relay::RelayHandle;

/// A third of the time after which a relay that is not heard of is no longer offered.
const HEALTH: Duration = Duration::from_secs(5);

/// How members reach the relay, and where that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// As the operator calls it: `eu-west`.
    pub region: String,
    /// Name or address; none = the control server's.
    pub host: Option<String>,
    /// UDP and TCP.
    pub port: u16,
    /// Of the relay's key.
    pub pin: Pin,
}

/// What a relay registers with.
#[derive(Debug)]
pub struct Registration {
    control: ServerLink,
    token: RegisterToken,
    announcement: Announcement,
    relay: RelayHandle,
    kept: Kept,
}

impl Registration {
    /// Puts in force what was kept in `data_dir` by an earlier run. Contacts nobody yet.
    pub fn open(
        control: ServerLink,
        token: RegisterToken,
        announcement: Announcement,
        relay: RelayHandle,
        data_dir: PathBuf,
    ) -> Result<Self, KeptError> {
        let kept = Kept::open(data_dir, &control.pin, &relay)?;
        Ok(Self {
            control,
            token,
            announcement,
            relay,
            kept,
        })
    }

    /// Keeps the link up until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep_linked()).await;
    }

    async fn keep_linked(mut self) {
        let mut backoff = Backoff::default();
        let mut told = None;
        loop {
            let error = match Link::open(&self.control, &self.token).await {
                Ok(link) => {
                    let began = Instant::now();
                    let error = self.serve(link, &mut told).await;
                    backoff.handle_connected(began);
                    error
                }
                Err(error) => error,
            };
            let wait = backoff.handle_failure(Instant::now(), rand::random());
            let sentence = error.to_string();
            // Once per cause, not once per attempt.
            if told.as_ref() != Some(&sentence) {
                tracing::warn!(%error, "not registered; trying again");
                told = Some(sentence);
            }
            sleep(wait).await;
        }
    }

    /// One link, until it breaks.
    async fn serve(&mut self, mut link: Link, told: &mut Option<String>) -> LinkError {
        let relay = self.relay.clone();
        let mut health = interval(HEALTH);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = std::pin::pin!(relay.draining().fuse());
        let mut said = link.send(&self.register()).await;
        loop {
            if let Err(error) = said {
                return error;
            }
            said = tokio::select! {
                received = link.next() => match received {
                    Ok(message) => self.handle(message, &mut link, told).await,
                    Err(error) => Err(error),
                },
                _ = health.tick() => link.send(&RelayMessage::Health { health: relay.health() }).await,
                () = &mut draining => link.send(&RelayMessage::Draining).await,
            };
        }
    }

    /// Takes a message, and those that have come with it: what they revoke is in force at once, kept together and acknowledged.
    async fn handle(
        &mut self,
        message: ControlMessage,
        link: &mut Link,
        told: &mut Option<String>,
    ) -> Result<(), LinkError> {
        let mut next = Some(message);
        let mut applied = None;
        while let Some(message) = next {
            match message {
                ControlMessage::Welcome {
                    token_key,
                    server_time_ms,
                    last_seq,
                } => {
                    self.relay.set_time(server_time_ms);
                    self.relay.handle_last_seq(last_seq);
                    self.kept.token_key = Some(token_key);
                    *told = None;
                    tracing::info!(control = %self.control.authority(), "registered");
                }
                ControlMessage::Revoked { revocation } => {
                    self.relay.apply(&revocation);
                    applied = Some(revocation.seq);
                }
                ControlMessage::Bye { error } => return Err(LinkError::Refused(error)),
            }
            next = link.next().now_or_never().transpose()?;
        }
        // After what came with it, so that a relay that knew nothing lets nobody in whom it is about to hear of.
        if let Some(key) = &self.kept.token_key {
            self.relay.set_token_key(key);
        }
        if let Err(error) = self.kept.save(&self.relay) {
            // In force all the same; after a restart the control server is asked again for what is not kept.
            tracing::error!(%error, "revocations are not kept");
        }
        match applied {
            Some(seq) => link.send(&RelayMessage::Applied { seq }).await,
            None => Ok(()),
        }
    }

    fn register(&self) -> RelayMessage {
        let Announcement {
            region,
            host,
            port,
            pin,
        } = self.announcement.clone();
        RelayMessage::Register {
            id: self.relay.id().clone(),
            region,
            host,
            port,
            pin,
            capacity: self.relay.health().capacity,
            since: self.relay.known().seq,
        }
    }
}
