//! What other replicas announce.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::ids::PartyId;
use lanrage_shared::stream::PartyEvent;
use lanrage_store::{Listener, News, Notice, Result, StoreError};
use tokio::time::timeout;

use super::read_soft;
use super::ticking::look_up;
use crate::app::App;
use crate::feed::{FeedMessage, Seat};

/// A connection that heard nothing for this long is dead, as this replica's own beats should have come.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause before listening again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(app: &App) {
    loop {
        match app.store.listen().await {
            Ok(Some(listener)) => {
                let Err(error) = listen(app, listener).await;
                tracing::debug!(%error, "the database is not heard");
            }
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "the database is not heard"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

type Never = std::convert::Infallible;

async fn listen(app: &App, mut listener: Box<dyn Listener>) -> Result<Never> {
    look_up(app).await?;
    loop {
        let silent = || StoreError::Unavailable("nothing is heard, not even what this replica says".into());
        let notice = timeout(SILENCE, listener.next()).await.map_err(|_| silent())??;
        handle(app, notice).await?;
    }
}

/// Does what a notice asks for.
pub(super) async fn handle(app: &App, notice: Notice) -> Result<()> {
    let Notice { from, news } = notice;
    if from == app.replicas.me().id {
        match news {
            News::Here => app.replicas.hear_itself(),
            News::Events { party, last, .. } => app.replicas.changed_here(party, last),
            _ => {}
        }
        return Ok(());
    }
    match news {
        News::Events { party, first, last } => events(app, party, first, last).await,
        News::Revoked => {
            app.relays.announce_revocations();
            Ok(())
        }
        News::Saved => read_soft(app, [from]).await,
        News::Wrote { writes } => {
            app.take_in(&writes);
            Ok(())
        }
        News::Signal {
            number,
            party,
            from: sender,
            to: member,
            sealed,
        } => {
            if app.replicas.is_new_signal(from, number) {
                let message = FeedMessage::Signal { from: sender, sealed };
                app.feed.send(Seat { party, member }, message);
            }
            Ok(())
        }
        News::Here => Ok(()),
    }
}

/// Reads a party's new events once for all its streams.
async fn events(app: &App, party: PartyId, first: u64, last: u64) -> Result<()> {
    if !app.feed.has(party) {
        app.snapshots.follow_to(party, last);
        return Ok(());
    }
    let events = app.store.events_after(party, first.saturating_sub(1)).await;
    if let Ok(Some(events)) = &events {
        app.snapshots.follow(party, events, app.clock.uptime_ms());
    }
    app.snapshots.follow_to(party, last);
    for (seq, event) in events?.unwrap_or_default() {
        let message = match event {
            // Each stream finds its own in the store.
            PartyEvent::SecretChanged { .. } => FeedMessage::Changed { seq },
            event => FeedMessage::Event {
                seq,
                event: Arc::new(event),
            },
        };
        app.feed.publish(party, &message);
    }
    // Whatever was not read above.
    app.feed.publish(party, &FeedMessage::Changed { seq: last });
    Ok(())
}
