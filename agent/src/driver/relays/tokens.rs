//! Relay tokens: fetched for all relays at once, shared by the sessions, renewed before they end.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::api::relay::RelayTokens;
use lanrage_shared::ids::{PartyId, RelayId};
use tokio::sync::Mutex;

use crate::driver::party::wall_ms;
use crate::io::control::{ControlClient, ControlError};

/// Tokens that end within this time are not used for anything new.
const MARGIN: Duration = Duration::from_secs(60);

/// A token and when it ends, in Unix seconds of the server.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub text: String,
    pub expires_at: u64,
}

/// The tokens of one membership.
pub(super) struct Tokens {
    client: Arc<ControlClient>,
    party: PartyId,
    held: Mutex<Option<RelayTokens>>,
}

impl Tokens {
    pub fn new(client: Arc<ControlClient>, party: PartyId) -> Self {
        Self {
            client,
            party,
            held: Mutex::new(None),
        }
    }

    /// A token for a relay; another one than `refused`, which did not work. None when the server has none for it.
    pub async fn get(&self, relay: &RelayId, refused: Option<&str>) -> Result<Option<Token>, ControlError> {
        let mut held = self.held.lock().await;
        let deadline = self.server_now_s() + MARGIN.as_secs();
        let good = |tokens: &RelayTokens| {
            let token = find(tokens, relay)?;
            (tokens.expires_at > deadline && Some(token.text.as_str()) != refused).then_some(token)
        };
        if let Some(token) = held.as_ref().and_then(good) {
            return Ok(Some(token));
        }
        let fresh = self.client.relay_tokens(self.party).await?;
        let token = find(&fresh, relay);
        *held = Some(fresh);
        Ok(token)
    }

    /// What is held is worth nothing any more.
    pub async fn forget(&self) {
        *self.held.lock().await = None;
    }

    /// How long a token is still good for.
    pub fn time_left(&self, expires_at: u64) -> Duration {
        Duration::from_secs(expires_at.saturating_sub(self.server_now_s()))
    }

    fn server_now_s(&self) -> u64 {
        let offset = self.client.server_clock().map_or(0, |clock| clock.offset_ms);
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
