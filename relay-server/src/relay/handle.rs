//! Steering a relay that runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_relay_core::relay::{Counters, Known, Refusal};
use lanrage_shared::api::relay::{RelayHealth, Revocation};
use lanrage_shared::ids::{IdentityKey, RelayId};
use lanrage_shared::wire::relay::FromRelay;

use super::handshakes::Handshakes;
use super::hub::Hub;

/// A running relay, to whoever is in charge of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RelayHandle(pub(super) Arc<Hub>);

impl RelayHandle {
    /// The relay's name.
    pub fn id(&self) -> &RelayId {
        self.0.relay.id()
    }

    /// The key relay tokens are signed with, as of the control server. Before it is set nobody gets in.
    pub fn set_token_key(&self, key: &IdentityKey) {
        self.0.relay.set_token_key(key);
    }

    /// The control server's time of day, in ms since the Unix epoch.
    pub fn set_time(&self, unix_ms: u64) {
        self.0.relay.set_time(Instant::now(), unix_ms);
    }

    /// Takes up the revocations an earlier run knew.
    pub fn restore(&self, known: &Known) {
        self.0.relay.restore(known);
    }

    /// The revocations in force, to be kept.
    pub fn known(&self) -> Known {
        self.0.relay.known()
    }

    /// Ends the sessions of whoever was removed. When this returns nothing more is passed on from or to them.
    pub fn apply(&self, revocation: &Revocation) {
        self.0.end(self.0.relay.apply(revocation, Instant::now()));
    }

    /// The number of the last revocation there is, as the control server says on (re)connecting.
    pub fn handle_last_seq(&self, last_seq: u64) {
        self.0.relay.handle_last_seq(last_seq);
    }

    /// How it is doing; the load by bytes is the mean since this was last asked.
    pub fn health(&self) -> RelayHealth {
        self.0.relay.health(Instant::now())
    }

    /// Sessions and parties there are.
    pub fn population(&self) -> (u32, usize) {
        self.0.relay.population()
    }

    /// What it has passed on and dropped.
    pub fn counters(&self) -> Arc<Counters> {
        self.0.relay.counters()
    }

    /// What became of connections.
    pub fn handshakes(&self) -> &Handshakes {
        &self.0.handshakes
    }

    /// Resolves when the relay begins to drain.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Takes nobody new, tells everybody to move elsewhere, and goes on for them until all have left or the time is up.
    pub async fn drain(&self, longest: Duration) {
        self.0.relay.drain();
        self.0.draining.cancel();
        let seconds = u16::try_from(longest.as_secs()).unwrap_or(u16::MAX);
        for port in self.0.ports() {
            port.say(FromRelay::Drain { seconds });
        }
        let all_left = tokio::time::timeout(longest, self.0.empty()).await.is_ok();
        tracing::info!(all_left, "the relay has drained");
    }

    pub(super) fn part_with_all(&self) {
        for port in self.0.ports() {
            port.end(Refusal::Draining.to_api_error());
        }
    }
}
