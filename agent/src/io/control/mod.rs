//! The control server, as an agent uses it: requests over HTTPS, and the stream.
//!
//! One connection at a time serves the requests; the stream takes that connection over when it is still warm. So a join
//! costs one DNS look-up, one TCP and one TLS 1.3 handshake, and then one round trip each for challenge, token, redeem and
//! stream. The server is known by the pin of its key and by nothing else ([`lanrage_tls`]).

pub mod clock;
mod dial;
mod error;
mod http;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

pub use clock::{ClockOffset, check_clock};
pub use error::ControlError;
use http::{Call, Connection, Failed};
use hyper::Method;
use lanrage_shared::api::auth::{Challenge, ChallengeRequest, TokenRequest, TokenResponse};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::{InviteCreated, ListedInvite, NewInvite, RedeemInvite};
use lanrage_shared::api::party::{Ban, CreateParty, Joined, MoveParty, Party, RemoveMember, Removed, UpdateParty};
use lanrage_shared::api::relay::RelayTokens;
use lanrage_shared::api::secret::NewSecret;
pub use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::{DeviceId, DeviceKey, MemberId, PartyId};
use lanrage_shared::invite::ServerLink;
use lanrage_shared::keys::{IdentitySecret, token_proof};
use lanrage_shared::stream::ClientMessage;
use lanrage_tls::pinned::client_config;
use serde::de::{DeserializeOwned, IgnoredAny};
pub use stream::{ControlSink, ControlSource, ControlStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tracing::Instrument;
use uuid::Uuid;

const STREAM: &str = "/v1/stream";
/// For one request, its answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections idle for longer are not used again. The server closes idle ones after 5 s; asking on one that is being
/// closed costs more than a new one.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// One device's access to one control server. Cheap to keep: it holds a connection only while it is asked things.
pub struct ControlClient {
    link: ServerLink,
    identity: Arc<IdentitySecret>,
    device: DeviceKey,
    tls: TlsConnector,
    session: Mutex<Session>,
    learned: SyncMutex<Learned>,
}

#[derive(Default)]
struct Session {
    idle: Option<(Connection, Instant)>,
    token: Option<Token>,
}

struct Token {
    text: String,
    renew_at: Instant,
}

/// What talking to the server taught along the way.
#[derive(Default, Clone, Copy)]
struct Learned {
    ip: Option<IpAddr>,
    clock: Option<ClockOffset>,
}

impl ControlClient {
    /// For the device with these keys at this server. Contacts nobody yet.
    pub fn new(link: ServerLink, identity: Arc<IdentitySecret>, device: DeviceKey) -> Self {
        let tls = TlsConnector::from(Arc::new(client_config(link.pin, &[b"http/1.1"])));
        Self {
            link,
            identity,
            device,
            tls,
            session: Mutex::default(),
            learned: SyncMutex::default(),
        }
    }

    /// The server's link.
    pub fn link(&self) -> &ServerLink {
        &self.link
    }

    /// This PC has lost an address: a connection from there is dead, and nobody says so.
    pub async fn forget_connection(&self) {
        self.session.lock().await.idle = None;
    }

    /// The address the server was last reached at: what a STUN server without a host means.
    pub fn server_ip(&self) -> Option<IpAddr> {
        self.learned().ip
    }

    /// How far this PC's clock is off the server's, as of the last challenge.
    pub fn server_clock(&self) -> Option<ClockOffset> {
        self.learned().clock
    }

    /// `POST /v1/parties`. Not repeated by itself when the connection breaks: it would make two.
    pub async fn create_party(&self, party: &CreateParty) -> Result<Joined, ControlError> {
        self.ask(Call::post("/v1/parties", party)?.once()).await
    }

    /// `POST /v1/parties/{id}/invites`.
    pub async fn create_invite(&self, party: PartyId, invite: &NewInvite) -> Result<InviteCreated, ControlError> {
        let path = format!("/v1/parties/{party}/invites");
        self.ask(Call::post(path, invite)?.once()).await
    }

    /// `GET /v1/parties/{id}/invites`.
    pub async fn invites(&self, party: PartyId) -> Result<Vec<ListedInvite>, ControlError> {
        self.ask(Call::new(Method::GET, format!("/v1/parties/{party}/invites")))
            .await
    }

    /// `DELETE /v1/parties/{id}/invites/{invite}`.
    pub async fn revoke_invite(&self, party: PartyId, invite: Uuid) -> Result<(), ControlError> {
        let path = format!("/v1/parties/{party}/invites/{invite}");
        let _: IgnoredAny = self.ask(Call::new(Method::DELETE, path)).await?;
        Ok(())
    }

    /// `PATCH /v1/parties/{id}`, if the party is as known.
    pub async fn update_party(&self, party: &Party, update: &UpdateParty) -> Result<Party, ControlError> {
        let call = Call::with_body(Method::PATCH, format!("/v1/parties/{}", party.id), update)?;
        self.ask(call.if_version(party.version)).await
    }

    /// `DELETE /v1/parties/{id}`, if the party is as known.
    pub async fn delete_party(&self, party: &Party) -> Result<(), ControlError> {
        let call = Call::new(Method::DELETE, format!("/v1/parties/{}", party.id));
        let _: IgnoredAny = self.ask(call.if_version(party.version)).await?;
        Ok(())
    }

    /// `POST /v1/invites/redeem`.
    pub async fn redeem(&self, invite: &RedeemInvite) -> Result<Joined, ControlError> {
        self.ask(Call::post("/v1/invites/redeem", invite)?).await
    }

    /// `DELETE /v1/parties/{id}/members/me`.
    pub async fn leave(&self, party: PartyId) -> Result<(), ControlError> {
        let path = format!("/v1/parties/{party}/members/me");
        let _: IgnoredAny = self.ask(Call::new(Method::DELETE, path)).await?;
        Ok(())
    }

    /// `POST /v1/parties/{id}/members/{number}/remove`, if the party is as known.
    pub async fn remove_member(
        &self,
        party: &Party,
        member: MemberId,
        removal: &RemoveMember,
    ) -> Result<Removed, ControlError> {
        let path = format!("/v1/parties/{}/members/{member}/remove", party.id);
        self.ask(Call::post(path, removal)?.if_version(party.version)).await
    }

    /// `POST /v1/parties/{id}/network`, if the party is as known.
    pub async fn move_party(&self, party: &Party, request: &MoveParty) -> Result<Party, ControlError> {
        let path = format!("/v1/parties/{}/network", party.id);
        self.ask(Call::post(path, request)?.if_version(party.version)).await
    }

    /// `GET /v1/parties/{id}/bans`.
    pub async fn bans(&self, party: PartyId) -> Result<Vec<Ban>, ControlError> {
        self.ask(Call::new(Method::GET, format!("/v1/parties/{party}/bans")))
            .await
    }

    /// `DELETE /v1/parties/{id}/bans/{device}`.
    pub async fn lift_ban(&self, party: PartyId, device: DeviceId) -> Result<(), ControlError> {
        let path = format!("/v1/parties/{party}/bans/{device}");
        let _: IgnoredAny = self.ask(Call::new(Method::DELETE, path)).await?;
        Ok(())
    }

    /// `PUT /v1/parties/{id}/secret`, if the party is as known.
    pub async fn renew_secret(&self, party: &Party, secret: &NewSecret) -> Result<Party, ControlError> {
        let path = format!("/v1/parties/{}/secret", party.id);
        let call = Call::with_body(Method::PUT, path, secret)?;
        self.ask(call.if_version(party.version)).await
    }

    /// `POST /v1/parties/{id}/relay-tokens`.
    pub async fn relay_tokens(&self, party: PartyId) -> Result<RelayTokens, ControlError> {
        let path = format!("/v1/parties/{party}/relay-tokens");
        self.ask(Call::new(Method::POST, path)).await
    }

    /// `GET /v1/parties/{id}`.
    pub async fn party(&self, party: PartyId) -> Result<Party, ControlError> {
        self.ask(Call::new(Method::GET, format!("/v1/parties/{party}"))).await
    }

    /// Proves this device to the server ahead of the first request, and so learns the server's clock.
    pub async fn authenticate(&self) -> Result<(), ControlError> {
        let mut session = self.session.lock().await;
        self.token(&mut session).await.map(drop)
    }

    /// Opens `GET /v1/stream` and says `hello`.
    pub async fn open_stream(&self, hello: ClientMessage) -> Result<ControlStream, ControlError> {
        let mut session = self.session.lock().await;
        let mut renewed = false;
        loop {
            let token = self.token(&mut session).await?;
            let (connection, warm) = self.connection(&mut session).await?;
            let span = http::traced(&Method::GET, STREAM, self.identity.device_id());
            match self.in_time(connection.upgrade(STREAM, &token)).instrument(span).await {
                Ok(io) => return ControlStream::start(io, self.link.authority(), hello).await,
                Err(Failed::Broken { .. }) if warm => {}
                Err(Failed::Final(error)) if !renewed && wants_new_token(&error) => {
                    session.token = None;
                    renewed = true;
                }
                Err(failed) => return Err(self.given_up(failed)),
            }
        }
    }

    /// One authenticated request, once more with a new token when the server no longer takes the old one.
    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, ControlError> {
        let mut session = self.session.lock().await;
        let token = self.token(&mut session).await?;
        match self.send(&mut session, &call, Some(&token)).await {
            Err(error) if wants_new_token(&error) => {
                session.token = None;
                let token = self.token(&mut session).await?;
                self.send(&mut session, &call, Some(&token)).await
            }
            answered => answered,
        }
    }

    async fn token(&self, session: &mut Session) -> Result<String, ControlError> {
        if let Some(token) = session.token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.text.clone());
        }
        let identity_key = self.identity.public();
        // Connected first, so that the clock is measured by a bare round trip.
        let (connection, _) = self.connection(session).await?;
        session.idle = Some((connection, Instant::now()));
        let asked = clock::wall_ms();
        let call = Call::post("/v1/auth/challenge", &ChallengeRequest { identity_key })?;
        let challenge: Challenge = self.send(session, &call, None).await?;
        self.learn(|learned| learned.clock = Some(ClockOffset::measured(asked, challenge.server_time_ms)));

        let proof = token_proof(&self.link.pin, &challenge.nonce, &self.device);
        let request = TokenRequest {
            identity_key,
            device_key: self.device,
            nonce: challenge.nonce,
            signature: self.identity.sign(&proof),
        };
        let asked = Instant::now();
        let call = Call::post("/v1/auth/token", &request)?;
        let answer: TokenResponse = self.send(session, &call, None).await?;
        let lifetime = Duration::from_secs(answer.expires_in_s.min(24 * 3600));
        session.token = Some(Token {
            text: answer.token.clone(),
            renew_at: asked + lifetime.saturating_sub(RENEW_BEFORE),
        });
        Ok(answer.token)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        session: &mut Session,
        call: &Call,
        token: Option<&str>,
    ) -> Result<T, ControlError> {
        loop {
            let (mut connection, warm) = self.connection(session).await?;
            let span = call.span(self.identity.device_id());
            match self.in_time(connection.send(call, token)).instrument(span).await {
                Ok(answer) => {
                    session.idle = Some((connection, Instant::now()));
                    return answer.into_value();
                }
                // The server hung up on a connection that had been idle.
                Err(Failed::Broken { repeatable: true, .. }) if warm => {}
                Err(failed) => return Err(self.given_up(failed)),
            }
        }
    }

    /// A connection nobody else uses, and whether it was used before. It goes back by hand, so that one whose request was
    /// given up on is closed.
    async fn connection(&self, session: &mut Session) -> Result<(Connection, bool), ControlError> {
        match self.usable_idle(session) {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.dial().await?, false)),
        }
    }

    fn usable_idle(&self, session: &mut Session) -> Option<Connection> {
        let (connection, since) = session.idle.take()?;
        (since.elapsed() < IDLE_LIMIT && connection.is_usable()).then_some(connection)
    }

    async fn dial(&self) -> Result<Connection, ControlError> {
        let (io, ip) = dial::dial(&self.link, &self.tls).await?;
        self.learn(|learned| learned.ip = Some(ip));
        Connection::new(io, self.link.authority())
            .await
            .map_err(|error| self.unreachable(error))
    }

    async fn in_time<T>(&self, request: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        tokio::time::timeout(REQUEST_TIMEOUT, request)
            .await
            .unwrap_or_else(|_| Err(Failed::Final(self.unreachable("no answer within 10 s"))))
    }

    fn given_up(&self, failed: Failed) -> ControlError {
        match failed {
            Failed::Broken { why, .. } => self.unreachable(why),
            Failed::Final(error) => error,
        }
    }

    fn unreachable(&self, why: impl ToString) -> ControlError {
        ControlError::Unreachable {
            server: self.link.authority(),
            why: why.to_string(),
        }
    }

    fn learned(&self) -> Learned {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, lesson: impl FnOnce(&mut Learned)) {
        lesson(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn wants_new_token(error: &ControlError) -> bool {
    matches!(error, ControlError::Refused(error) if matches!(error.code, ErrorCode::TokenExpired | ErrorCode::Unauthorized))
}
