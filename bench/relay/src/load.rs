//! The load: pairs of members that send at a steady rate.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use hdrhistogram::Histogram;
use lanrage_relay_client::{
    Connected, Credentials, Event, RelayEndpoint, RelayEvents, RelaySender, Transport, connect_tcp,
};
use lanrage_shared::ids::{DeviceKey, MemberId, PartyId};
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{Claims, RelayClaims, TokenSigner};
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::RunArgs;
use crate::child::Relay;
use crate::serve::{NAME, TOKEN_SECRET};

/// Between two connects: a relay lets one address begin only so many handshakes a second.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);
/// How often a sender wakes to send its share, or less often when that is less than a packet.
const TICK: Duration = Duration::from_millis(1);
/// For what is still on its way at the end.
const SETTLE: Duration = Duration::from_millis(500);

/// What one count of pairs showed.
pub struct Outcome {
    pairs: u16,
    seconds: f64,
    sent: u64,
    received: u64,
    bytes: u64,
    cpu_s: f64,
    latency_us: Histogram<u64>,
    kib_per_session: f64,
}

struct Totals {
    over: AtomicBool,
    sent: AtomicU64,
}

pub async fn run(relay: &Relay, pairs: u16, args: &RunArgs) -> Result<Outcome> {
    let empty_kib = relay.resident_kib()?;
    let mut members = Vec::new();
    for pair in 0..pairs {
        let sender = connect(relay, args.transport.into(), pair, 1).await?;
        let receiver = connect(relay, args.transport.into(), pair, 2).await?;
        members.push((sender, receiver));
    }
    let kib_per_session = (relay.resident_kib()? - empty_kib) / f64::from(2 * pairs);
    let totals = Arc::new(Totals {
        over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
    });
    let began = Instant::now();
    let cpu_before = relay.cpu_s()?;
    let (mut senders, mut receivers, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (sender, receiver) in members {
        let rate = f64::from(args.rate) / f64::from(pairs);
        senders.push(tokio::spawn(send(
            sender.sender,
            rate,
            args.size,
            began,
            Arc::clone(&totals),
        )));
        receivers.push(tokio::spawn(receive(receiver.events, began, Arc::clone(&totals))));
        kept.push((sender.events, receiver.sender));
    }
    sleep(Duration::from_secs(args.seconds)).await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = relay.cpu_s()? - cpu_before;
    for sender in senders {
        sender.abort();
    }
    sleep(SETTLE).await;
    totals.over.store(true, Ordering::Relaxed);
    let mut latency_us = Histogram::new(3)?;
    for receiver in receivers {
        latency_us.add(receiver.await?)?;
    }
    drop(kept);
    Ok(Outcome {
        pairs,
        seconds,
        sent: totals.sent.load(Ordering::Relaxed),
        received: latency_us.len(),
        bytes: latency_us.len() * args.size as u64,
        cpu_s,
        latency_us,
        kib_per_session,
    })
}

async fn send(sender: RelaySender, rate: f64, size: usize, began: Instant, totals: Arc<Totals>) {
    let mut ticks = interval(TICK.max(Duration::from_secs_f64(1.0 / rate)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut payload = vec![0x5a; size.max(8)];
    let mut sent = 0_u64;
    let started = Instant::now();
    loop {
        ticks.tick().await;
        while (sent as f64) < started.elapsed().as_secs_f64() * rate {
            let now = began.elapsed().as_micros() as u64;
            payload[..8].copy_from_slice(&now.to_be_bytes());
            sent += 1;
            totals.sent.fetch_add(1, Ordering::Relaxed);
            // What finds no room is lost, and shows as that.
            let _ = sender.send(MemberId(2), &payload);
        }
    }
}

async fn receive(mut events: RelayEvents, began: Instant, totals: Arc<Totals>) -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "three digits are what it takes")]
    let mut latency_us = Histogram::new(3).expect("a histogram");
    while !totals.over.load(Ordering::Relaxed) {
        let event = tokio::time::timeout(SETTLE / 2, events.next()).await;
        let Ok(event) = event else { continue };
        let Event::Packet { payload, .. } = event else { break };
        if let Some(sent) = payload.first_chunk::<8>() {
            let now = began.elapsed().as_micros() as u64;
            let waited = now.saturating_sub(u64::from_be_bytes(*sent));
            // It grows with what it is given; nothing waits for longer than it can.
            let _ = latency_us.record(waited);
        }
    }
    latency_us
}

async fn connect(relay: &Relay, transport: Transport, pair: u16, member: u16) -> Result<Connected> {
    sleep(CONNECT_PAUSE).await;
    let mut secret = [9; 32];
    secret[..2].copy_from_slice(&pair.to_be_bytes());
    secret[2..4].copy_from_slice(&member.to_be_bytes());
    let identity = Arc::new(IdentitySecret::from_bytes(secret));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = RelayClaims {
        aud: RelayClaims::AUDIENCE.into(),
        relay: NAME.parse()?,
        party: PartyId(Uuid::from_u128(pair.into())),
        member: MemberId(member),
        identity_key: identity.public(),
        device_key: DeviceKey(secret),
        epoch: 1,
        iat: now,
        exp: now + 3600,
    };
    let signer = TokenSigner::from_pkcs8_der(SigningKey::from_bytes(&TOKEN_SECRET).to_pkcs8_der()?.as_bytes());
    let credentials = Credentials {
        token: signer.sign(&claims)?,
        identity,
    };
    Ok(match transport {
        Transport::Tcp => connect_tcp(relay.target, &credentials).await?,
        Transport::Quic => {
            let endpoint = RelayEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), Duration::from_secs(10))?;
            endpoint.connect(relay.target, &credentials).await?
        }
    })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_s = |count: u64| count as f64 / self.seconds;
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        write!(
            f,
            "{:>5} {:>7.0} {:>7.0}  {:>7.3} {:>7.2} {:>6.2} {:>10.2} {:>7.2} {:>7.2} {:>7.2} {:>12.1}",
            self.pairs,
            per_s(self.sent),
            per_s(self.received),
            per_s(self.bytes) * 8.0 / 1e9,
            (self.sent - self.received.min(self.sent)) as f64 * 100.0 / self.sent.max(1) as f64,
            self.cpu_s / self.seconds,
            self.cpu_s * 1e6 / self.received.max(1) as f64,
            ms(0.5),
            ms(0.99),
            self.latency_us.max() as f64 / 1000.0,
            self.kib_per_session,
        )
    }
}
