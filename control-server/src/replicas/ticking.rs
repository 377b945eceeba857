//! What a replica does twice a second, heard or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::PartyId;
use lanrage_store::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::{BEAT, read_soft};
use crate::app::App;
use crate::feed::FeedMessage;

/// After the database was away, replicas have this many beats to say that they are there before they count as gone.
const GRACE_BEATS: u32 = 10;

/// A database that takes longer to answer a beat was away.
const TOO_LONG: Duration = Duration::from_secs(2);

pub(super) async fn run(app: &App) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut grace = 0;
    loop {
        ticks.tick().await;
        match tick(app, grace == 0).await {
            // It was frozen, and so was everybody's word.
            Ok(took) if took > TOO_LONG => grace = GRACE_BEATS,
            Ok(_) if grace == GRACE_BEATS => {
                grace -= 1;
                app.roster.say_again();
            }
            Ok(_) => grace = grace.saturating_sub(1),
            Err(error) => {
                if grace < GRACE_BEATS {
                    tracing::warn!(%error, "other replicas cannot be heard of");
                }
                grace = GRACE_BEATS;
            }
        }
    }
}

/// Says that this replica is there, and looks who else is and what they wrote. `judges`: who does not say so is gone. Gives how
/// long the database took to say who is there.
pub(super) async fn tick(app: &App, judges: bool) -> Result<Duration> {
    let began = Instant::now();
    let me = app.replicas.me();
    // After an outage also because a change may be there of which the database did not say so.
    if !app.replicas.heard_itself.swap(false, Ordering::Relaxed) || !judges {
        look_up(app).await?;
    }
    tell_again(app);
    let replicas = app.store.beat(me).await?;
    let took = began.elapsed();
    let mut there: BTreeSet<ReplicaId> = replicas.iter().map(|replica| replica.id).collect();
    there.remove(&me.id);
    let before = app.replicas.there();
    if !judges || took > TOO_LONG {
        there.extend(&before);
    }
    for id in there.difference(&before) {
        tracing::info!(replica = %id, "another replica is there");
    }
    for id in before.difference(&there) {
        tracing::warn!(replica = %id, "a replica is gone");
    }
    read_soft(app, there.iter().copied()).await?;
    app.replicas.lock().set_there(there.clone());
    app.set_there(there);
    app.relays.merge(&app.store.soft_writes_of_relays().await?);
    Ok(took)
}

/// Tells of changes made here: whoever made one tells of it, unless it was not told itself that it had been made (the answer to a
/// commit can be lost). Who has heard of them ignores this.
fn tell_again(app: &App) {
    let changed = std::mem::take(&mut app.replicas.lock().changed_here);
    if !changed.is_empty() {
        app.relays.announce_revocations();
    }
    for (party, seq) in changed {
        app.snapshots.follow_to(party, seq);
        app.feed.publish(party, &FeedMessage::Changed { seq });
    }
}

/// Looks up what would have been heard.
pub(crate) async fn look_up(app: &App) -> Result<()> {
    app.relays.announce_revocations();
    let mut parties: BTreeSet<PartyId> = app.feed.parties().into_iter().collect();
    parties.extend(app.snapshots.parties());
    if parties.is_empty() {
        return Ok(());
    }
    let parties = Vec::from_iter(parties);
    let numbers: BTreeMap<PartyId, u64> = app.store.last_numbers(&parties).await?.into_iter().collect();
    for party in parties {
        // One that is gone is ahead of every number.
        let seq = numbers.get(&party).copied().unwrap_or(u64::MAX);
        app.snapshots.follow_to(party, seq);
        app.feed.publish(party, &FeedMessage::Changed { seq });
    }
    Ok(())
}
