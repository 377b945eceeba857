//! Redis as a shortcut: what is on its way through the database anyway also goes by publish and subscribe, and arrives at once.
//! Nothing depends on it. What it does not take in time is dropped here, and comes by the database.

use std::time::Duration;

use futures_util::StreamExt;
use lanrage_shared::hlc::ReplicaId;
use lanrage_store::{News, Notice, SoftWrite};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::Shortcut;
use super::hearing::handle;
use crate::app::App;
use crate::limits::Counted;

const CHANNEL: &str = "lanrage";
/// Where replicas tell whom they counted for the rate limits, which goes by no database.
const COUNTS: &str = "lanrage-counts";
/// How often they do.
const COUNTS_EVERY: Duration = Duration::from_millis(200);
/// Longest wait for an answer: by then the database has done it.
const PATIENCE: Duration = Duration::from_millis(500);
/// The pause before another connection.
const PAUSE: Duration = Duration::from_secs(1);
/// How often something is published whether there is news or not.
const ECHO_EVERY: Duration = Duration::from_secs(1);
/// A subscription that heard nothing for this long is dead, as this replica's own echo should have come.
const SILENCE: Duration = Duration::from_secs(3);
/// Pieces of news published at once.
const BATCH: usize = 256;

/// How often whom a replica answered since it last said so.
#[derive(Serialize, Deserialize)]
struct Counts {
    from: ReplicaId,
    counted: Vec<(Counted, u32)>,
}

pub(super) async fn run(app: &App, shortcut: &Shortcut, outgoing: mpsc::Receiver<News>) {
    tokio::join!(publish(app, shortcut, outgoing), subscribe(app, &shortcut.client));
}

async fn publish(app: &App, shortcut: &Shortcut, mut outgoing: mpsc::Receiver<News>) {
    loop {
        let Err(error) = publish_to(app, shortcut, &mut outgoing).await else {
            return;
        };
        if shortcut.outage.begins() {
            tracing::warn!(%error, "Redis does not answer; replicas hear of one another by the database");
        }
        tokio::time::sleep(PAUSE).await;
        // What waited since is known by now, and what was counted is too old to matter.
        while outgoing.try_recv().is_ok() {}
        app.limits.take_untold();
    }
}

/// Publishes until Redis fails, or there is nothing more to come.
async fn publish_to(app: &App, shortcut: &Shortcut, outgoing: &mut mpsc::Receiver<News>) -> RedisResult<()> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = shortcut
        .client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut batch = Vec::with_capacity(BATCH);
    let (mut echo, mut counts) = (interval(ECHO_EVERY), interval(COUNTS_EVERY));
    loop {
        let mut counted = Vec::new();
        tokio::select! {
            received = outgoing.recv_many(&mut batch, BATCH) => if received == 0 {
                return Ok(());
            },
            _ = echo.tick() => batch.push(News::Here),
            _ = counts.tick() => counted = app.limits.take_untold(),
        }
        let from = app.replicas.me().id;
        let mut pipeline = redis::pipe();
        if !counted.is_empty()
            && let Ok(text) = serde_json::to_string(&Counts { from, counted })
        {
            pipeline.publish(COUNTS, text).ignore();
        }
        for news in joined(&mut batch) {
            if let Ok(text) = serde_json::to_string(&Notice { from, news }) {
                pipeline.publish(CHANNEL, text).ignore();
            }
        }
        if !pipeline.is_empty() {
            let () = pipeline.query_async(&mut connection).await?;
            if shortcut.outage.ends() {
                tracing::info!("Redis answers again");
            }
        }
    }
}

/// The news, soft writes in one piece.
fn joined(batch: &mut Vec<News>) -> Vec<News> {
    let mut writes: Vec<SoftWrite> = Vec::new();
    let mut others = Vec::new();
    for news in batch.drain(..) {
        match news {
            News::Wrote { writes: more } => writes.extend(more),
            other => others.push(other),
        }
    }
    if !writes.is_empty() {
        others.push(News::Wrote { writes });
    }
    others
}

async fn subscribe(app: &App, client: &Client) {
    loop {
        if let Err(error) = subscribe_to(app, client).await {
            tracing::debug!(%error, "Redis is not heard");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hears until Redis fails or falls silent.
async fn subscribe_to(app: &App, client: &Client) -> RedisResult<()> {
    let connecting = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(&[CHANNEL, COUNTS]).await?;
        RedisResult::Ok(subscription)
    };
    let Ok(subscription) = timeout(PATIENCE, connecting).await else {
        return Ok(());
    };
    let mut subscription = subscription?;
    let mut messages = subscription.on_message();
    while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
        let text: String = message.get_payload()?;
        if message.get_channel_name() == COUNTS {
            if let Ok(counts) = serde_json::from_str::<Counts>(&text)
                && counts.from != app.replicas.me().id
            {
                app.limits.counted_elsewhere(&counts.counted);
            }
            continue;
        }
        // One that is not read is of a newer version.
        let Ok(notice) = serde_json::from_str::<Notice>(&text) else {
            continue;
        };
        if notice.from != app.replicas.me().id
            && let Err(error) = handle(app, notice).await
        {
            tracing::debug!(%error, "what another replica did is looked up later");
        }
    }
    Ok(())
}
