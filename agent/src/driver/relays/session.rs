//! One relay's session: comes back with full jitter when it breaks, looks for another connection while the one it has is
//! silent, and goes back from TCP to QUIC when UDP gets through again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lanrage_agent_core::batch::{Packet, RelayNumber, Route};
use lanrage_agent_core::silence::{Counts, Silence};
use lanrage_relay_client::{Connected, Credentials, Event, RelaySender, Transport};
use lanrage_shared::backoff::Backoff;
use lanrage_shared::ids::{MemberId, RelayId};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::attempt::{Attempt, Because, Next, ended, last_chance};
use super::dialer::{Broken, Dialer, Line};
use crate::driver::dataplane::Lane;

/// How often the round trip is told.
const RTT_INTERVAL: Duration = Duration::from_secs(5);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(600);
/// A renewal that the control server could not give is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked at whether the relay still answers.
const LOOK: Duration = Duration::from_millis(200);
/// Over TCP, UDP is tried after this, and then after twice as long each time, because most networks that block it always do.
const QUIC_AGAIN: Duration = Duration::from_secs(5);
const MAX_QUIC_AGAIN: Duration = Duration::from_secs(320);

/// What a session tells.
#[derive(Debug)]
pub(super) enum Said {
    /// It stands, or goes on over another connection. Another number than before: what was known of ways through it is void.
    Up {
        number: RelayNumber,
        sender: RelaySender,
        rtt: Duration,
    },
    Rtt(Duration),
    Draining,
    Down(String),
    Undelivered {
        member: MemberId,
    },
}

/// Keeps one session until it is aborted.
pub(super) struct Keeper {
    dialer: Arc<Dialer>,
    lane: Lane,
    /// The next number of a session.
    numbers: Arc<AtomicU16>,
    /// Changes with the network this PC is on.
    network: watch::Receiver<()>,
    manager: mpsc::Sender<(RelayId, Said)>,
    number: RelayNumber,
    /// Whether the latest connection is, or was, over TCP.
    over_tcp: bool,
    quic_pause: Duration,
}

impl Keeper {
    /// A keeper that has nothing yet.
    pub fn new(
        dialer: Dialer,
        lane: Lane,
        numbers: Arc<AtomicU16>,
        network: watch::Receiver<()>,
        manager: mpsc::Sender<(RelayId, Said)>,
    ) -> Self {
        Self {
            dialer: Arc::new(dialer),
            lane,
            numbers,
            network,
            manager,
            number: RelayNumber(0),
            over_tcp: false,
            quic_pause: QUIC_AGAIN,
        }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut refused = None;
        loop {
            self.network.mark_unchanged();
            let connected = tokio::select! {
                connected = self.dialer.connect(refused.as_deref(), self.over_tcp) => connected,
                // What was begun on another network leads nowhere.
                Ok(()) = self.network.changed() => {
                    backoff = Backoff::default();
                    continue;
                }
            };
            let broken = match connected {
                Ok(line) => {
                    backoff.handle_connected(Instant::now());
                    self.carry(line).await
                }
                Err(broken) => broken,
            };
            refused = broken.refused;
            if !self.say(Said::Down(broken.why)).await {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.handle_failure(Instant::now(), rand::random())) => {}
                Ok(()) = self.network.changed() => backoff = Backoff::default(),
            }
        }
    }

    async fn say(&self, said: Said) -> bool {
        let relay = self.dialer.relay.id.clone();
        self.manager.send((relay, said)).await.is_ok()
    }

    /// Carries packets over one connection after the other, until there is none.
    async fn carry(&mut self, mut line: Line) -> Broken {
        let mut silence = Silence::default();
        self.begin_anew();
        loop {
            if !self.say(self.up(&line.connected.sender, line.rtt)).await {
                return Broken::new("not wanted any more");
            }
            let next = match self.listen(line, &mut silence).await {
                Ok(next) => next,
                Err(broken) => return broken,
            };
            if next.because != Because::OverTcp {
                self.begin_anew();
            }
            line = next.line;
        }
    }

    /// Ways through the relay have been given up, or are about to be, because it was silent. By another number they are new.
    fn begin_anew(&mut self) {
        self.number = RelayNumber(self.numbers.fetch_add(1, Ordering::Relaxed));
    }

    fn up(&self, sender: &RelaySender, rtt: Duration) -> Said {
        Said::Up {
            number: self.number,
            sender: sender.clone(),
            rtt,
        }
    }

    /// Carries packets until the connection is over, or another one takes over.
    async fn listen(&mut self, line: Line, silence: &mut Silence) -> Result<Next, Broken> {
        let Line { connected, target, rtt } = line;
        let Connected {
            sender,
            mut events,
            expires_at,
        } = connected;
        silence.handle_connected(counts(&sender));
        self.over_tcp = sender.transport() == Transport::Tcp;
        let mut rtt_tick = tokio::time::interval(RTT_INTERVAL);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let renewal = tokio::time::sleep(self.until_renewal(expires_at));
        let quic_again = tokio::time::sleep(self.quic_pause);
        tokio::pin!(renewal, quic_again);
        let (mut attempt, mut was_silent, mut in_vain) = (None, false, 0);
        let mut renewing = None;
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
                        renewal.as_mut().reset(tokio::time::Instant::now() + self.until_renewal(expires_at));
                        continue;
                    }
                    Event::Drain { .. } => Said::Draining,
                    Event::Ended(error) => return last_chance(attempt, error).await,
                    Event::Lost(why) => return last_chance(attempt, why).await,
                },
                _ = rtt_tick.tick() => match sender.rtt() {
                    Some(rtt) => Said::Rtt(rtt),
                    None => continue,
                },
                () = &mut renewal => {
                    // Without the control server it takes long, and packets go on meanwhile.
                    renewing.get_or_insert_with(|| renew(Arc::clone(&self.dialer), sender.clone()).boxed());
                    renewal.as_mut().reset(tokio::time::Instant::now() + RENEW_AGAIN);
                    continue;
                }
                () = finished(&mut renewing) => continue,
                _ = look.tick() => {
                    let now = Instant::now();
                    silence.handle_look(counts(&sender), now);
                    let rtt = sender.rtt().unwrap_or(rtt);
                    let is_over = silence.is_over(rtt, now);
                    if !is_over {
                        in_vain = 0;
                    }
                    match &attempt {
                        None if is_over => {
                            let again = Arc::clone(&self.dialer).connect_again(target, rtt, in_vain);
                            attempt = Some(Attempt::new(Because::Silent, again));
                        }
                        Some(Attempt { because: Because::Silent, .. }) if !is_over => attempt = None,
                        _ => {}
                    }
                    let is_back = was_silent && !is_over;
                    was_silent = is_over;
                    if !is_back {
                        continue;
                    }
                    self.begin_anew();
                    self.up(&sender, rtt)
                }
                Ok(()) = self.network.changed() => {
                    let now = Instant::now();
                    silence.handle_look(counts(&sender), now);
                    silence.handle_doubt(now);
                    self.quic_pause = QUIC_AGAIN;
                    in_vain = 0;
                    if self.over_tcp {
                        let again = Arc::clone(&self.dialer).connect_again(target, rtt, 0);
                        attempt = Some(Attempt::new(Because::Moved, again));
                    }
                    continue;
                }
                () = &mut quic_again, if self.over_tcp && attempt.is_none() => {
                    attempt = Some(Attempt::new(Because::OverTcp, Arc::clone(&self.dialer).connect_quic(target)));
                    self.quic_pause = (self.quic_pause * 2).min(MAX_QUIC_AGAIN);
                    quic_again.as_mut().reset(tokio::time::Instant::now() + self.quic_pause);
                    continue;
                }
                (because, outcome) = ended(&mut attempt) => match outcome {
                    Ok(line) => return Ok(Next { line, because }),
                    Err(why) => {
                        in_vain += 1;
                        tracing::debug!(relay = %self.dialer.relay.id, ?because, %why, "no other connection to the relay");
                        continue;
                    }
                },
            };
            if !self.say(said).await {
                return Err(Broken::new("not wanted any more"));
            }
        }
    }

    fn until_renewal(&self, expires_at: u64) -> Duration {
        self.dialer.tokens.time_left(expires_at).saturating_sub(RENEW_BEFORE)
    }
}

/// Has a session go on with a new token.
async fn renew(dialer: Arc<Dialer>, sender: RelaySender) {
    let (relay, tokens) = (&dialer.relay.id, &dialer.tokens);
    // A token that is good for longer than the session's is a new one.
    let held = tokens.get(relay, None).await;
    let fresh = match held {
        Ok(Some(token)) if tokens.time_left(token.expires_at) <= RENEW_BEFORE => {
            tokens.get(relay, Some(&token.text)).await
        }
        other => other,
    };
    match fresh {
        Ok(Some(token)) => {
            let credentials = Credentials {
                token: token.text,
                identity: Arc::clone(&dialer.membership.identity),
            };
            // A session that is over says so by itself.
            let _ = sender.renew(&credentials).await;
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%relay, %error, "the relay token could not be renewed yet"),
    }
}

/// Waits for a renewal under way, if there is one. Safe to cancel.
async fn finished(renewing: &mut Option<BoxFuture<'static, ()>>) {
    match renewing {
        Some(under_way) => {
            under_way.await;
            *renewing = None;
        }
        None => std::future::pending().await,
    }
}

fn counts(sender: &RelaySender) -> Counts {
    let (sent, heard) = sender.traffic();
    Counts { sent, heard }
}
