//! One relay's session: connects over QUIC, over TCP where UDP does not get through, and comes back with full jitter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lanrage_agent_core::batch::{Packet, RelayNumber, Route};
use lanrage_relay_client::{
    ConnectError, Connected, Credentials, Event, RelayEndpoint, RelaySender, Target, connect_tcp,
};
use lanrage_shared::api::relay::Relay;
use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::{MemberId, RelayId};
use tokio::sync::mpsc;

use super::Membership;
use super::tokens::Tokens;
use crate::driver::dataplane::Lane;
use crate::driver::services::Places;

/// QUIC gets this much of a head start before TCP is tried, too.
const HEAD_START: Duration = Duration::from_secs(1);
/// How often the round trip is told.
const RTT_INTERVAL: Duration = Duration::from_secs(5);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(600);
/// A renewal that the control server could not give is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(30);

/// What a session tells.
#[derive(Debug)]
pub(super) enum Said {
    Up { sender: RelaySender, rtt: Duration },
    Rtt(Duration),
    Draining,
    Down(String),
    Undelivered { member: MemberId },
}

/// Keeps one session until it is aborted.
pub(super) struct Keeper {
    pub relay: Relay,
    pub membership: Arc<Membership>,
    pub tokens: Arc<Tokens>,
    pub endpoint: RelayEndpoint,
    pub lane: Lane,
    pub number: RelayNumber,
    pub manager: mpsc::Sender<(RelayId, Said)>,
}

/// The session broke, in words; with the token it was refused with, if that was the reason.
struct Broken {
    why: String,
    refused: Option<String>,
}

impl Broken {
    fn new(why: impl ToString) -> Self {
        Self {
            why: why.to_string(),
            refused: None,
        }
    }
}

impl Keeper {
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut refused = None;
        loop {
            let broken = match self.connect(refused.as_deref()).await {
                Ok((connected, rtt)) => {
                    backoff.handle_connected(Instant::now());
                    self.carry(connected, rtt).await
                }
                Err(broken) => broken,
            };
            refused = broken.refused;
            if !self.say(Said::Down(broken.why)).await {
                return;
            }
            tokio::time::sleep(backoff.handle_failure(Instant::now(), rand::random())).await;
        }
    }

    async fn say(&self, said: Said) -> bool {
        self.manager.send((self.relay.id.clone(), said)).await.is_ok()
    }

    async fn connect(&self, refused: Option<&str>) -> Result<(Connected, Duration), Broken> {
        let credentials = self.credentials(refused).await?;
        let mut why = Broken::new("its address cannot be looked up");
        for address in self.addresses().await? {
            let target = Target {
                address,
                pin: self.relay.pin,
            };
            match self.race(target, &credentials).await {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    why = Broken::new(&error);
                    if let ConnectError::Refused(_) = error {
                        why.refused = Some(credentials.token.clone());
                        return Err(why);
                    }
                }
            }
        }
        Err(why)
    }

    async fn credentials(&self, refused: Option<&str>) -> Result<Credentials, Broken> {
        let token = self.tokens.get(&self.relay.id, refused).await.map_err(Broken::new)?;
        let token = token.ok_or_else(|| Broken::new("the control server gives no token for it"))?;
        Ok(Credentials {
            token: token.text,
            identity: Arc::clone(&self.membership.identity),
        })
    }

    /// Over QUIC, and soon over TCP as well; the first that stands, and its round-trip time.
    async fn race(&self, target: Target, credentials: &Credentials) -> Result<(Connected, Duration), ConnectError> {
        // The handshake and the hello take four round trips over TCP, and two over QUIC, which knows better by then.
        let timed = async |connecting: BoxFuture<'_, Result<Connected, ConnectError>>, round_trips| {
            let started = Instant::now();
            let connected = connecting.await?;
            let rtt = connected.sender.rtt().unwrap_or(started.elapsed() / round_trips);
            Ok((connected, rtt))
        };
        let quic = timed(self.endpoint.connect(target, credentials).boxed(), 2);
        let tcp = async {
            tokio::time::sleep(HEAD_START).await;
            timed(connect_tcp(target, credentials).boxed(), 4).await
        };
        tokio::pin!(quic, tcp);
        let is_final = |error: &ConnectError| matches!(error, ConnectError::Refused(_) | ConnectError::WrongKey { .. });
        tokio::select! {
            over_quic = &mut quic => match over_quic {
                Err(error) if !is_final(&error) => tcp.await,
                decided => decided,
            },
            over_tcp = &mut tcp => match over_tcp {
                Err(error) if !is_final(&error) => quic.await,
                decided => decided,
            },
        }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Broken> {
        let client = &self.membership.client;
        let places = Places {
            server: client.link().clone(),
            reached: client.server_ip(),
            party: self.membership.net,
        };
        let port = self.relay.port;
        let found = places.addresses(self.relay.host.as_deref(), port).await;
        let found = found.map_err(Broken::new)?.into_iter();
        Ok(found.map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn carry(&mut self, connected: Connected, rtt: Duration) -> Broken {
        let Connected {
            sender,
            mut events,
            expires_at,
        } = connected;
        let up = Said::Up {
            sender: sender.clone(),
            rtt,
        };
        if !self.say(up).await {
            return Broken::new("not wanted any more");
        }
        let mut rtt_tick = tokio::time::interval(RTT_INTERVAL);
        let renewal = tokio::time::sleep(self.tokens.time_left(expires_at).saturating_sub(RENEW_BEFORE));
        tokio::pin!(renewal);
        let mut packets = Vec::new();
        loop {
            let said = tokio::select! {
                event = events.next() => match event {
                    Event::Packet { from, payload } => {
                        packets.push(Packet {
                            peer: Route::Relay { relay: self.number, member: from },
                            data: BytesMut::from(payload),
                        });
                        self.lane.handle(&mut packets);
                        continue;
                    }
                    Event::Undelivered { to, .. } => Said::Undelivered { member: to },
                    Event::Welcome { expires_at } => {
                        let left = self.tokens.time_left(expires_at).saturating_sub(RENEW_BEFORE);
                        renewal.as_mut().reset(tokio::time::Instant::now() + left);
                        continue;
                    }
                    Event::Drain { .. } => Said::Draining,
                    Event::Ended(error) => return Broken::new(error),
                    Event::Lost(why) => return Broken::new(why),
                },
                _ = rtt_tick.tick() => match sender.rtt() {
                    Some(rtt) => Said::Rtt(rtt),
                    None => continue,
                },
                () = &mut renewal => {
                    self.renew(&sender).await;
                    renewal.as_mut().reset(tokio::time::Instant::now() + RENEW_AGAIN);
                    continue;
                }
            };
            if !self.say(said).await {
                return Broken::new("not wanted any more");
            }
        }
    }

    async fn renew(&self, sender: &RelaySender) {
        // A token that is good for longer than the session's is a new one.
        let held = self.tokens.get(&self.relay.id, None).await;
        let fresh = match held {
            Ok(Some(token)) if self.tokens.time_left(token.expires_at) <= RENEW_BEFORE => {
                self.tokens.get(&self.relay.id, Some(&token.text)).await
            }
            other => other,
        };
        match fresh {
            Ok(Some(token)) => {
                let credentials = Credentials {
                    token: token.text,
                    identity: Arc::clone(&self.membership.identity),
                };
                // A session that is over says so by itself.
                let _ = sender.renew(&credentials).await;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(relay = %self.relay.id, %error, "the relay token could not be renewed yet"),
        }
    }
}
