//! Relay tokens: fetched for all relays at once, shared by the sessions, renewed before they end.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::api::relay::RelayTokens;
use lanrage_shared::ids::{PartyId, RelayId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Membership, RelayEvent};
use crate::driver::party::wall_ms;
use crate::io::control::{ControlClient, ControlError};

/// Tokens that end within this time are not used for anything new.
const MARGIN: Duration = Duration::from_secs(60);

/// A token and when it ends, in Unix seconds of the server.
#[derive(Clone)]
pub(super) struct Token {
    pub text: String,
    pub expires_at: u64,
}

/// The tokens of one membership.
pub(super) struct Tokens {
    client: Arc<ControlClient>,
    party: PartyId,
    /// What to add to this PC's clock to get the server's, in ms, as long as it was not measured in this run.
    clock_offset_ms: i64,
    held: Mutex<Option<RelayTokens>>,
    /// One at a time asks for more. Who has a good one does not wait for that: without the server it takes long.
    asking: tokio::sync::Mutex<()>,
    to_loop: mpsc::Sender<RelayEvent>,
}

impl Tokens {
    pub fn new(membership: &Membership, to_loop: mpsc::Sender<RelayEvent>) -> Self {
        Self {
            client: Arc::clone(&membership.client),
            party: membership.party,
            clock_offset_ms: membership.clock_offset_ms,
            held: Mutex::new(membership.tokens.clone()),
            asking: tokio::sync::Mutex::default(),
            to_loop,
        }
    }

    /// A token for a relay; another one than `refused`, which did not work. None when the server has none for it.
    pub async fn get(&self, relay: &RelayId, refused: Option<&str>) -> Result<Option<Token>, ControlError> {
        let good = || self.good(relay).filter(|token| Some(token.text.as_str()) != refused);
        if let Some(token) = good() {
            return Ok(Some(token));
        }
        let _turn = self.asking.lock().await;
        if let Some(token) = good() {
            return Ok(Some(token));
        }
        let fresh = self.client.relay_tokens(self.party).await?;
        let token = find(&fresh, relay);
        self.hold(Some(fresh)).await;
        Ok(token)
    }

    /// What is held is worth nothing any more.
    pub async fn forget(&self) {
        let _turn = self.asking.lock().await;
        self.hold(None).await;
    }

    /// The loop keeps them for the next run.
    async fn hold(&self, tokens: Option<RelayTokens>) {
        self.held.lock().clone_from(&tokens);
        let _ = self.to_loop.send(RelayEvent::Tokens(tokens)).await;
    }

    fn good(&self, relay: &RelayId) -> Option<Token> {
        let deadline = self.server_now_s() + MARGIN.as_secs();
        let held = self.held.lock();
        let tokens = held.as_ref().filter(|tokens| tokens.expires_at > deadline)?;
        find(tokens, relay)
    }

    /// How long a token is still good for.
    pub fn time_left(&self, expires_at: u64) -> Duration {
        Duration::from_secs(expires_at.saturating_sub(self.server_now_s()))
    }

    fn server_now_s(&self) -> u64 {
        let measured = self.client.server_clock().map(|clock| clock.offset_ms);
        let offset = measured.unwrap_or(self.clock_offset_ms);
        u64::try_from(wall_ms().saturating_add(offset) / 1000).unwrap_or_default()
    }
}

fn find(tokens: &RelayTokens, relay: &RelayId) -> Option<Token> {
    let token = tokens.tokens.iter().find(|token| token.relay == *relay)?;
    Some(Token {
        text: token.token.clone(),
        expires_at: tokens.expires_at,
    })
}
