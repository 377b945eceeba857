//! Several servers on one database: each hears what the others did, and tells them what it does.
//!
//! The database is the truth. What a transaction did is announced by the transaction itself (`News` over NOTIFY), so that
//! whoever hears of it finds it; every replica says twice a second that it is there, and one that does not hear itself looks
//! everything up instead. Soft writes are read by marks: of each replica, what is later than the last that was read. A replica
//! that says nothing for [`LEASE_MS`] of the database's clock is gone; while the database is away nobody is.

mod hearing;
mod redis;
mod ticking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{MemberId, PartyId};
pub use lanrage_store::LEASE_MS;
use lanrage_store::{News, ReplicaRow, Result, SoftKey};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::ticking::look_up;
use crate::app::App;
use crate::feed::Seat;
use crate::outage::Outage;

/// How often a replica says that it is there and looks what it may have missed.
pub const BEAT: Duration = Duration::from_millis(500);
/// A replica that has not heard itself for this long is deaf: six beats, one of which may be slow.
const DEAF: Duration = Duration::from_secs(3);
/// Signals that may wait for the database; more are dropped, as their senders repeat them.
const QUEUE: usize = 1024;
/// Signals announced at once.
const BATCH: usize = 64;

/// What this replica knows of the others.
pub struct Replicas {
    me: ReplicaRow,
    signals: mpsc::Sender<News>,
    outgoing: Mutex<Option<mpsc::Receiver<News>>>,
    shortcut: Option<Shortcut>,
    last_signal: AtomicU64,
    /// This replica has heard itself since its last beat.
    heard_itself: AtomicBool,
    /// When it last did, or began.
    heard_at: Mutex<Instant>,
    state: Mutex<Known>,
}

/// The way by Redis.
struct Shortcut {
    client: ::redis::Client,
    news: mpsc::Sender<News>,
    outgoing: Mutex<Option<mpsc::Receiver<News>>>,
    /// It did not take the last that was given to it.
    outage: Outage,
}

#[derive(Default)]
struct Known {
    /// Other replicas that are there.
    there: BTreeSet<ReplicaId>,
    /// Up to where each one's soft writes were read from the database.
    marks: BTreeMap<ReplicaId, u64>,
    /// The last signal delivered of each.
    signals: BTreeMap<ReplicaId, u64>,
    /// Parties that were changed here since the last beat, each with the number of its last event.
    changed_here: BTreeMap<PartyId, u64>,
}

impl Known {
    /// These are there. Of others nothing is kept: their writes are read anew when they come back.
    fn set_there(&mut self, there: BTreeSet<ReplicaId>) {
        self.marks.retain(|replica, _| there.contains(replica));
        self.signals.retain(|replica, _| there.contains(replica));
        self.there = there;
    }
}

impl Replicas {
    /// Knows of nobody yet.
    pub fn new(me: ReplicaRow, redis: Option<::redis::Client>) -> Self {
        let (signals, outgoing) = mpsc::channel(QUEUE);
        let shortcut = redis.map(|client| {
            let (news, outgoing) = mpsc::channel(QUEUE);
            Shortcut {
                client,
                news,
                outgoing: Mutex::new(Some(outgoing)),
                outage: Outage::default(),
            }
        });
        Self {
            me,
            signals,
            outgoing: Mutex::new(Some(outgoing)),
            shortcut,
            last_signal: AtomicU64::new(0),
            heard_itself: AtomicBool::new(false),
            heard_at: Mutex::new(Instant::now()),
            state: Mutex::default(),
        }
    }

    /// This one.
    pub fn me(&self) -> &ReplicaRow {
        &self.me
    }

    /// Other replicas that are there.
    pub fn there(&self) -> BTreeSet<ReplicaId> {
        self.lock().there.clone()
    }

    /// Whether this replica has lately heard what is announced, its own words at least.
    pub fn hears(&self) -> bool {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < DEAF
    }

    /// Whether there is a Redis, and it does not take what it is given.
    pub fn lacks_redis(&self) -> bool {
        self.shortcut.as_ref().is_some_and(|shortcut| shortcut.outage.lasts())
    }

    fn hear_itself(&self) {
        self.heard_itself.store(true, Ordering::Relaxed);
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn changed_here(&self, party: PartyId, last: u64) {
        let mut state = self.lock();
        let number = state.changed_here.entry(party).or_default();
        *number = last.max(*number);
    }

    /// Passes a signal on to whichever replica has its receiver.
    pub fn signal(&self, from: MemberId, to: Seat, sealed: String) {
        let there = !self.lock().there.is_empty();
        if there {
            let number = self.last_signal.fetch_add(1, Ordering::Relaxed) + 1;
            let Seat { party, member } = to;
            let signal = News::Signal {
                number,
                party,
                from,
                to: member,
                sealed,
            };
            // Full: its sender repeats it.
            if let Some(shortcut) = &self.shortcut {
                let _ = shortcut.news.try_send(signal.clone());
            }
            let _ = self.signals.try_send(signal);
        }
    }

    /// Whether a signal is newer than all that were delivered of its replica: then they stay in order, whatever ways they come by.
    fn is_new_signal(&self, from: ReplicaId, number: u64) -> bool {
        let mut state = self.lock();
        let last = state.signals.entry(from).or_default();
        let new = number > *last;
        *last = number.max(*last);
        new
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // Every change is a single map operation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Learns who is there and what they said, before anybody is answered.
pub async fn begin(app: &App) -> Result<()> {
    if app.store.is_shared() {
        ticking::tick(app, true).await.map(drop)
    } else {
        app.store.beat(app.replicas.me()).await.map(drop)
    }
}

/// Hears and tells until the server shuts down.
pub async fn run(app: Arc<App>) {
    if !app.store.is_shared() {
        return app.shutdown.cancelled().await;
    }
    let outgoing = app
        .replicas
        .outgoing
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let work = async {
        tokio::join!(ticking::run(&app), hearing::run(&app), take_shortcut(&app), async {
            if let Some(outgoing) = outgoing {
                speak(&app, outgoing).await;
            }
        })
    };
    tokio::select! {
        () = app.shutdown.cancelled() => {}
        _ = work => {}
    }
}

/// Uses the way by Redis, if there is one.
async fn take_shortcut(app: &App) {
    let Some(shortcut) = &app.replicas.shortcut else {
        return;
    };
    let outgoing = shortcut.outgoing.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(outgoing) = outgoing {
        app.roster.tell(shortcut.news.clone());
        redis::run(app, shortcut, outgoing).await;
    }
}

async fn speak(app: &App, mut outgoing: mpsc::Receiver<News>) {
    let mut batch = Vec::with_capacity(BATCH);
    while outgoing.recv_many(&mut batch, BATCH).await > 0 {
        if let Err(error) = app.store.announce(&batch).await {
            tracing::debug!(%error, "signals to other replicas are lost");
        }
        batch.clear();
    }
}

/// Reads what these replicas wrote since it was last read.
async fn read_soft(app: &App, of: impl IntoIterator<Item = ReplicaId>) -> Result<()> {
    let marks: Vec<(ReplicaId, u64)> = {
        let state = app.replicas.lock();
        let mark = |replica| (replica, state.marks.get(&replica).copied().unwrap_or_default());
        of.into_iter().map(mark).collect()
    };
    if marks.is_empty() {
        return Ok(());
    }
    let writes = app.store.soft_writes_after(&marks).await?;
    app.take_in(&writes);
    let mut state = app.replicas.lock();
    // Relays are stamped by a clock of their own, so they are read whole.
    let of_members = writes.iter().filter(|write| matches!(write.key, SoftKey::Member(..)));
    for write in of_members {
        let mark = state.marks.entry(write.stamp.replica).or_default();
        *mark = write.stamp.time.max(*mark);
    }
    Ok(())
}
