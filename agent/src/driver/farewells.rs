//! Telling servers that this device has left, for as long as it takes: a leave that the server never hears of would keep a
//! place in the party and an address for a device that is gone.

use std::sync::Arc;
use std::time::Instant;

use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::keys::{DeviceSecret, IdentitySecret};
use tokio::sync::{Mutex, Notify};

use super::command::{Command, Commands};
use crate::api::Failure;
use crate::io::control::{Backoff, ControlClient, ControlError};
use crate::state::Farewell;

/// Says what has to be said.
pub struct Farewells {
    pub commands: Commands,
    pub identity: Arc<IdentitySecret>,
    pub device: DeviceSecret,
    /// Held during a change of party, so that nobody leaves the party he has just come back to.
    pub changing: Arc<Mutex<()>>,
    /// There is something to say.
    pub wake: Notify,
}

impl Farewells {
    /// Leaves a party on its server now, or keeps at it when the server cannot be told. Whether it was told.
    pub async fn say(&self, client: &ControlClient, farewell: Farewell) -> Result<bool, Failure> {
        self.commands
            .ask(|reply| Command::Owe {
                farewell: farewell.clone(),
                reply,
            })
            .await??;
        let told = is_done(&client.leave(farewell.party).await);
        if told {
            self.commands.ask(|reply| Command::Paid { farewell, reply }).await?;
        } else {
            self.wake.notify_one();
        }
        Ok(told)
    }

    /// Says again what could not be said, until the agent stops.
    pub async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        while let Ok(owed) = self.commands.ask(Command::Owed).await {
            if owed.is_empty() {
                self.wake.notified().await;
                backoff = Backoff::default();
                continue;
            }
            for farewell in owed {
                if self.retry(farewell).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(backoff.handle_failure(Instant::now(), rand::random())).await;
        }
    }

    async fn retry(&self, farewell: Farewell) -> Result<(), Failure> {
        let _turn = self.changing.lock().await;
        if !self.commands.ask(Command::Owed).await?.contains(&farewell) {
            return Ok(());
        }
        let client = ControlClient::new(
            farewell.server.clone(),
            Arc::clone(&self.identity),
            self.device.public(),
        );
        if is_done(&client.leave(farewell.party).await) {
            tracing::info!(party = %farewell.party, "the server knows by now that this PC has left");
            self.commands.ask(|reply| Command::Paid { farewell, reply }).await?;
        }
        Ok(())
    }
}

/// Whether the server knows that this device is not in the party.
fn is_done(answer: &Result<(), ControlError>) -> bool {
    match answer {
        Ok(()) => true,
        Err(ControlError::Refused(refusal)) => matches!(refusal.code, ErrorCode::NotAMember | ErrorCode::NotFound),
        Err(_) => false,
    }
}
