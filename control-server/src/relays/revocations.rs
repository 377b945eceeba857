//! What a relay has to be told, in order and without gaps, from where it left off.

use std::collections::VecDeque;

use lanrage_shared::api::relay::Revocation;
use lanrage_store::StoreError;
use tokio::sync::watch;

use crate::app::App;

/// Read from the store at once.
const BATCH: u32 = 256;

/// One relay's way through the revocations.
#[derive(Debug)]
pub struct Revocations {
    news: watch::Receiver<()>,
    /// Everything up to here was handed out or waits.
    read: u64,
    last: u64,
    waiting: VecDeque<Revocation>,
}

impl Revocations {
    /// From after number `since`. A number there never was is one of another database: then from the beginning.
    pub async fn begin(app: &App, since: u64) -> Result<Self, StoreError> {
        let news = app.relays.watch_revocations();
        let last = app.store.last_revocation().await?;
        Ok(Self {
            news,
            read: if since <= last { since } else { 0 },
            last,
            waiting: VecDeque::new(),
        })
    }

    /// The number of the last one there was at the beginning.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Resolves when there are more.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            // The server is gone, and whoever waits here with it.
            std::future::pending::<()>().await;
        }
    }

    /// The next one; none when everything was handed out.
    pub async fn next(&mut self, app: &App) -> Result<Option<Revocation>, StoreError> {
        if self.waiting.is_empty() {
            self.waiting = app.store.revocations_after(self.read, BATCH).await?.into();
            self.read = self.waiting.back().map_or(self.read, |revocation| revocation.seq);
        }
        Ok(self.waiting.pop_front())
    }
}
