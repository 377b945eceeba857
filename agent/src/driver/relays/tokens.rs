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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lanrage_shared::addr::PartyNet;
    use lanrage_shared::api::relay::RelayToken;
    use lanrage_shared::ids::Pin;
    use lanrage_shared::invite::ServerLink;
    use lanrage_shared::keys::{DeviceSecret, IdentitySecret};

    use super::*;

    /// Tokens of the run before, good for `left_s` by the server's clock, which is an hour ahead. The server is away.
    fn kept(left_s: i64) -> (Tokens, mpsc::Receiver<RelayEvent>) {
        const AHEAD_MS: i64 = 3_600_000;
        let (to_loop, events) = mpsc::channel(4);
        let server = ServerLink {
            host: "127.0.0.1".into(),
            // Nobody listens there.
            port: 1,
            pin: Pin([9; 32]),
        };
        let identity = Arc::new(IdentitySecret::from_bytes([1; 32]));
        let device = DeviceSecret::from_bytes([2; 32]);
        let party = PartyId("00000000-0000-7000-8000-000000000001".parse().unwrap());
        let membership = Membership {
            client: Arc::new(ControlClient::new(server, Arc::clone(&identity), device.public())),
            identity,
            party,
            net: PartyNet::at(7, party),
            tokens: Some(RelayTokens {
                tokens: vec![RelayToken {
                    relay: relay(),
                    token: "kept".to_owned(),
                }],
                expires_at: u64::try_from((wall_ms() + AHEAD_MS) / 1000 + left_s).unwrap(),
            }),
            clock_offset_ms: AHEAD_MS,
            rtts: BTreeMap::new(),
        };
        (Tokens::new(&membership, to_loop), events)
    }

    fn relay() -> RelayId {
        "fra-1".parse().unwrap()
    }

    #[tokio::test]
    async fn a_token_of_before_lets_in_without_the_server_unless_it_was_refused() {
        let (tokens, _events) = kept(600);
        let token = tokens.get(&relay(), None).await.unwrap().unwrap();
        assert_eq!(token.text, "kept");
        assert!((590..=600).contains(&tokens.time_left(token.expires_at).as_secs()));
        assert!(tokens.get(&relay(), Some("kept")).await.is_err());
        assert!(tokens.get(&"other".parse().unwrap(), None).await.is_err());
    }

    #[tokio::test]
    async fn a_token_that_has_expired_is_not_tried() {
        let (tokens, _events) = kept(0);
        assert!(tokens.get(&relay(), None).await.is_err());
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_kept_for_the_next_run_either() {
        let (tokens, mut events) = kept(600);
        tokens.forget().await;
        assert!(matches!(events.recv().await, Some(RelayEvent::Tokens(None))));
        assert!(tokens.get(&relay(), None).await.is_err());
    }
}
