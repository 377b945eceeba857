//! What the server does by itself: it notes who is connected, and clears away what nobody comes back for.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::api::relay::RELAY_TOKEN_LIFETIME_S;
use lanrage_shared::hlc::time_at;
use lanrage_store::{Absence, Result, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::replicas;

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// How often silent relays are looked for.
const WATCH_RELAYS_EVERY: Duration = Duration::from_secs(1);
const DAY_MS: u64 = 24 * 3600 * 1000;
/// A host that has not been connected for this long is succeeded, if anybody is there.
pub const HOST_GONE_MS: u64 = 10 * 60 * 1000;
/// Whoever was seen this lately is there: connected members are noted every minute.
const PRESENT_MS: u64 = 150 * 1000;
/// A member who has not connected for this long is no longer one.
pub const UNSEEN_MS: u64 = 30 * DAY_MS;
/// A party nobody was in for this long is forgotten, also a persistent one: its host would be its only member by then.
pub const FORGOTTEN_MS: u64 = 180 * DAY_MS;
/// An expired invite is kept this long, so that whoever comes late is told that it has expired.
pub const EXPIRED_KEPT_MS: u64 = 7 * DAY_MS;
/// A revocation is kept this long: twice as long as the tokens last that it revokes.
pub const REVOCATION_KEPT_MS: u64 = 2 * RELAY_TOKEN_LIFETIME_S * 1000;

/// That a member went is kept this long, for replicas that have not heard of it: many times as long as their clocks differ.
const GONE_KEPT_MS: u64 = 3_600_000;

/// Does the upkeep until the server shuts down.
pub async fn run(app: Arc<App>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        app.limits.forget_idle();
        app.snapshots
            .forget_unused(app.clock.uptime_ms(), |party| app.feed.has(party));
        match once(&app).await {
            Ok(()) => {}
            Err(StoreError::Unavailable(detail) | StoreError::Uncertain(detail)) => {
                tracing::warn!(detail, "upkeep waits: the database cannot be reached")
            }
            Err(error @ (StoreError::Busy | StoreError::Contended)) => {
                tracing::warn!(%error, "some of the upkeep waits for the next time")
            }
            Err(error) => tracing::error!(%error, "upkeep failed"),
        }
    }
}

/// Notices relays that are silent, until the server shuts down.
pub async fn watch_relays(app: Arc<App>) {
    let mut ticks = interval(WATCH_RELAYS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => app.relays.forget_silent(app.clock.uptime_ms()),
        }
    }
}

/// Does it once. What fails keeps nothing else from being done; gives the first failure.
pub async fn once(app: &App) -> Result<()> {
    let now_ms = app.clock.now_ms();
    let noted = note_presence(app, now_ms).await;
    let succeeded = succeed_hosts(app, now_ms).await;
    let cleared = clear_away(app, now_ms).await;
    let forgotten = forget_unseen(app, now_ms).await;
    noted.and(succeeded).and(cleared).and(forgotten)
}

async fn note_presence(app: &App, now_ms: u64) -> Result<()> {
    if !app.store.is_shared() {
        app.store.beat(app.replicas.me()).await?;
        // A change may be there of which the database did not say so.
        replicas::look_up(app).await?;
    }
    for seat in app.roster.here() {
        app.write_behind.queue_seen(seat, now_ms);
    }
    app.write_behind.flush(&app.store).await
}

async fn clear_away(app: &App, now_ms: u64) -> Result<()> {
    let gone_before_ms = now_ms.saturating_sub(GONE_KEPT_MS);
    app.roster.forget_gone(gone_before_ms);
    app.store.forget_soft_writes(time_at(gone_before_ms)).await?;
    app.store
        .delete_invites_expired(now_ms.saturating_sub(EXPIRED_KEPT_MS))
        .await?;
    app.store
        .delete_revocations(now_ms.saturating_sub(REVOCATION_KEPT_MS))
        .await?;
    app.store.delete_empty_parties().await.map(drop)
}

/// Removes members and parties that were not seen for long: while some server was there to see them. After a server was away for
/// weeks, a backup was restored or the clock was wrong, everybody has all the time again.
async fn forget_unseen(app: &App, now_ms: u64) -> Result<()> {
    let watched_ms = now_ms.saturating_sub(app.store.watched_since(now_ms).await?);
    if watched_ms >= UNSEEN_MS {
        let before_ms = now_ms.saturating_sub(UNSEEN_MS);
        for (party, device) in app.store.unseen_since(before_ms).await? {
            if let Some(changed) = app.store.remove_unseen(party, device, before_ms, now_ms).await? {
                tracing::info!(%party, %device, "a member was not seen for 30 days and is no longer one");
                app.announce(&changed);
            }
        }
    }
    if watched_ms >= FORGOTTEN_MS {
        let before_ms = now_ms.saturating_sub(FORGOTTEN_MS);
        let forgotten = app.store.delete_forgotten_parties(before_ms).await?;
        if forgotten > 0 {
            tracing::info!(parties = forgotten, "parties nobody was in for 180 days are forgotten");
        }
    }
    Ok(())
}

/// Gives parties whose host is gone another one. While the server was away nobody was seen: that says nothing of hosts.
async fn succeed_hosts(app: &App, now_ms: u64) -> Result<()> {
    if app.clock.uptime_ms() < HOST_GONE_MS {
        return Ok(());
    }
    let absence = Absence {
        gone_ms: now_ms.saturating_sub(HOST_GONE_MS),
        present_ms: now_ms.saturating_sub(PRESENT_MS),
    };
    for (party, host) in app.store.without_host(absence).await? {
        // When it was last seen goes by the clock of the replica that saw it.
        if app.roster.online(party).contains_key(&host) {
            continue;
        }
        if let Some(changed) = app.store.succeed_host(party, absence, now_ms).await? {
            tracing::debug!(%party, "a host was gone for ten minutes and has a successor");
            app.announce(&changed);
        }
    }
    Ok(())
}
