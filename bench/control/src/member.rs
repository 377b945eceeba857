//! An agent's stream being kept: it listens, beats when it is told to, and comes back when it breaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use lanrage_shared::api::presence::Presence;
use lanrage_shared::api::relay::RelaySeat;
use lanrage_shared::backoff::Backoff;
use lanrage_shared::stream::ClientMessage;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Interval, interval_at};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::agent::Agent;
use crate::http::{Refusal, Socket, Target};
use crate::report::latencies;

/// How members beat.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Between two heartbeats of a member.
    pub every: Duration,
    /// One heartbeat in so many says something new, which the party is told.
    pub news_in: u32,
}

/// What all members have in common.
pub struct Crowd {
    began: Instant,
    beat: watch::Sender<Option<Beat>>,
    /// Members that have a stream.
    pub online: AtomicU64,
    /// Streams that broke.
    pub lost: AtomicU64,
    /// Heartbeats sent.
    pub sent: AtomicU64,
    /// News of other members that came.
    pub told: AtomicU64,
    /// From when a heartbeat was due to when another member heard of it.
    pub latency_us: Mutex<Histogram<u64>>,
    /// Why attempts to open a stream failed.
    pub refusals: Mutex<BTreeMap<String, u64>>,
}

impl Crowd {
    pub fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            began: Instant::now(),
            beat: watch::Sender::new(None),
            online: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            told: AtomicU64::new(0),
            latency_us: Mutex::new(latencies()?),
            refusals: Mutex::default(),
        }))
    }

    pub fn beat(&self, beat: Option<Beat>) {
        self.beat.send_replace(beat);
    }

    fn us_at(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Notes what a heartbeat that was due then took until now.
    pub fn arrived(&self, due_us: u64) {
        self.told.fetch_add(1, Ordering::Relaxed);
        let took = self.us_at(Instant::now()).saturating_sub(due_us);
        self.latency_us.lock().saturating_record(took);
    }

    /// As a heartbeat that says something new says it.
    pub fn stamp(&self, due: tokio::time::Instant) -> u64 {
        self.us_at(due.into_std())
    }

    pub fn beats(&self) -> watch::Receiver<Option<Beat>> {
        self.beat.subscribe()
    }
}

/// Keeps the stream of an agent open as agents do, for as long as the task lives.
pub async fn keep(mut agent: Agent, target: Target, socket: Socket, crowd: Arc<Crowd>) {
    let mut backoff = Backoff::default();
    let mut open = Some(socket);
    loop {
        let mut pause = Duration::ZERO;
        let opened = match open.take() {
            Some(socket) => Ok(socket),
            None => agent.open_stream(&target).await,
        };
        match opened {
            Ok(socket) => {
                backoff.handle_connected(Instant::now());
                crowd.online.fetch_add(1, Ordering::Relaxed);
                carry(socket, &crowd).await;
                crowd.online.fetch_sub(1, Ordering::Relaxed);
                crowd.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if let Some(Refusal::Status(_, Some(wait))) = error.downcast_ref() {
                    pause = *wait;
                }
                let why = error.root_cause().to_string();
                *crowd.refusals.lock().entry(why).or_default() += 1;
            }
        }
        pause += backoff.handle_failure(Instant::now(), rand::random());
        tokio::time::sleep(pause).await;
    }
}

/// Listens and beats until the stream breaks.
pub async fn carry(mut socket: Socket, crowd: &Crowd) {
    let mut beats = crowd.beats();
    beats.mark_changed();
    let mut ticks = Ticks::default();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => if let Some(due_us) = stamp_in(&text) {
                    crowd.arrived(due_us);
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered when the socket is polled next, which is now.
                Some(Ok(_)) => {}
            },
            Ok(()) = beats.changed() => ticks = Ticks::of(*beats.borrow_and_update()),
            due = ticks.next() => {
                let text = ticks.says(crowd, due);
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
                crowd.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// When a member beats and what it says.
#[derive(Default)]
pub struct Ticks {
    ticks: Option<Interval>,
    news_in: u32,
    count: u32,
    text: Utf8Bytes,
}

impl Ticks {
    /// Members begin spread over the pause between their heartbeats, and over the heartbeats between their news.
    pub fn of(beat: Option<Beat>) -> Self {
        let Some(Beat { every, news_in }) = beat else {
            return Self::default();
        };
        let first = tokio::time::Instant::now() + every.mul_f64(rand::random());
        Self {
            ticks: Some(interval_at(first, every)),
            news_in,
            count: rand::random_range(0..news_in),
            text: Utf8Bytes::default(),
        }
    }

    /// When the next heartbeat is due; late when that was earlier.
    pub async fn next(&mut self) -> tokio::time::Instant {
        match &mut self.ticks {
            Some(ticks) => ticks.tick().await,
            None => std::future::pending().await,
        }
    }

    pub fn says(&mut self, crowd: &Crowd, due: tokio::time::Instant) -> Utf8Bytes {
        if self.count == 0 || self.text.is_empty() {
            self.text = presence(crowd.stamp(due)).into();
        }
        self.count = (self.count + 1) % self.news_in;
        self.text.clone()
    }
}

const STAMP: &str = "\"agent_version\":\"";

/// What a member with a relay says of itself. The version is when it says so.
fn presence(stamp: u64) -> String {
    let seat = |relay: &str| {
        let relay = relay.parse().ok()?;
        Some(RelaySeat { relay, rtt_ms: 20 })
    };
    let presence = Presence {
        relays: ["main", "spare"].into_iter().filter_map(seat).collect(),
        agent_version: stamp.to_string(),
        ..Presence::default()
    };
    ClientMessage::Presence { presence }.to_text()
}

/// The time in what a member said. Read by hand, because the load should cost little beside the server.
fn stamp_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(STAMP)?;
    rest.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_a_heartbeat_is_found_again() {
        assert_eq!(stamp_in(&presence(1_234)), Some(1_234));
        assert_eq!(stamp_in("{\"type\":\"welcome\"}"), None);
    }
}
