//! Ways to a relay: over QUIC, over TCP where UDP does not get through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lanrage_relay_client::{ConnectError, Connected, Credentials, RelayEndpoint, Target, connect_tcp};
use lanrage_shared::api::relay::Relay;

use super::Membership;
use super::tokens::Tokens;
use crate::driver::services::Places;

/// QUIC gets this much of a head start before TCP is tried, too.
const HEAD_START: Duration = Duration::from_secs(1);
/// The same where QUIC did not get through a moment ago: enough for it to win when it does.
const SHORT_HEAD_START: Duration = Duration::from_millis(100);
/// Another connection is tried so long, or so many round trips, before the attempt begins anew: a network that comes back is
/// asked again soon, and not only when a lost packet of the attempt is due once more.
const ATTEMPT: Duration = Duration::from_secs(1);
const ATTEMPT_ROUND_TRIPS: u32 = 8;
/// Attempts in vain make the next ones twice as long: where a relay is slow because it is busy, many short ones would keep it so. No
/// longer, because TCP asks a network that was away after 1 s and then only after 3 s.
const MAX_DOUBLINGS: u32 = 1;
/// TCP that fails at once is tried again after this: between two networks there is no way out for a moment.
const TCP_AGAIN: Duration = Duration::from_millis(200);
/// As long as QUIC is given to connect.
const TCP_TRIED_FOR: Duration = Duration::from_secs(5);

/// Connects to one relay, for one membership.
pub(super) struct Dialer {
    pub relay: Relay,
    pub membership: Arc<Membership>,
    pub tokens: Arc<Tokens>,
    pub endpoint: RelayEndpoint,
}

/// A connection to the relay.
pub(super) struct Line {
    pub connected: Connected,
    pub target: Target,
    pub rtt: Duration,
}

/// A session broke or did not come about, in words; with the token it was refused with, if that was the reason.
pub(super) struct Broken {
    pub why: String,
    pub refused: Option<String>,
}

impl Broken {
    pub fn new(why: impl ToString) -> Self {
        Self {
            why: why.to_string(),
            refused: None,
        }
    }
}

impl Dialer {
    /// A connection to any of its addresses, with another token than `refused`. `over_tcp` is what the one before was.
    pub async fn connect(&self, refused: Option<&str>, over_tcp: bool) -> Result<Line, Broken> {
        let head_start = if over_tcp { SHORT_HEAD_START } else { HEAD_START };
        let credentials = self.credentials(refused).await?;
        let mut why = Broken::new("its address cannot be looked up");
        for address in self.addresses().await? {
            let target = Target {
                address,
                pin: self.relay.pin,
            };
            match self.race(target, &credentials, head_start).await {
                Ok(line) => return Ok(line),
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

    /// Another connection to where there was one, while that one is silent, after so many that were `in_vain`.
    pub async fn connect_again(self: Arc<Self>, target: Target, rtt: Duration, in_vain: u32) -> Result<Line, String> {
        let connecting = async {
            let credentials = self.credentials(None).await.map_err(|broken| broken.why)?;
            let raced = self.race(target, &credentials, SHORT_HEAD_START).await;
            raced.map_err(|error| error.to_string())
        };
        let limit = ATTEMPT.max(rtt * ATTEMPT_ROUND_TRIPS) * 2u32.pow(in_vain.min(MAX_DOUBLINGS));
        tokio::time::timeout(limit, connecting)
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()))
    }

    /// Another connection over QUIC and nothing else, while the one over TCP works.
    pub async fn connect_quic(self: Arc<Self>, target: Target) -> Result<Line, String> {
        let credentials = self.credentials(None).await.map_err(|broken| broken.why)?;
        let connected = self.over_quic(target, &credentials).await;
        connected.map_err(|error| error.to_string())
    }

    /// What lets this member in; with another token than `refused`.
    async fn credentials(&self, refused: Option<&str>) -> Result<Credentials, Broken> {
        let token = self.tokens.get(&self.relay.id, refused).await.map_err(Broken::new)?;
        let token = token.ok_or_else(|| Broken::new("the control server gives no token for it"))?;
        Ok(Credentials {
            token: token.text,
            identity: Arc::clone(&self.membership.identity),
        })
    }

    /// Over QUIC, and soon over TCP as well; the first that stands.
    async fn race(
        &self,
        target: Target,
        credentials: &Credentials,
        head_start: Duration,
    ) -> Result<Line, ConnectError> {
        let quic = self.over_quic(target, credentials);
        let is_final = |error: &ConnectError| matches!(error, ConnectError::Refused(_) | ConnectError::WrongKey { .. });
        let tcp = async {
            tokio::time::sleep(head_start).await;
            let began = Instant::now();
            loop {
                match timed(target, connect_tcp(target, credentials).boxed(), 4).await {
                    Err(error) if !is_final(&error) && began.elapsed() < TCP_TRIED_FOR => {
                        tokio::time::sleep(TCP_AGAIN).await;
                    }
                    decided => return decided,
                }
            }
        };
        tokio::pin!(quic, tcp);
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

    async fn over_quic(&self, target: Target, credentials: &Credentials) -> Result<Line, ConnectError> {
        timed(target, self.endpoint.connect(target, credentials).boxed(), 2).await
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
}

/// With the round-trip time. The handshake and the hello take four round trips over TCP, and two over QUIC, which knows better
/// by then.
async fn timed(
    target: Target,
    connecting: BoxFuture<'_, Result<Connected, ConnectError>>,
    round_trips: u32,
) -> Result<Line, ConnectError> {
    let started = Instant::now();
    let connected = connecting.await?;
    let rtt = connected.sender.rtt().unwrap_or(started.elapsed() / round_trips);
    Ok(Line { connected, target, rtt })
}
