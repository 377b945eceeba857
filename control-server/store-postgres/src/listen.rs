//! What replicas announce, over LISTEN and NOTIFY.

use async_trait::async_trait;
use lanrage_store::{Listener, Notice, Result, StoreError};
use sqlx::postgres::{PgListener, PgPool};

use crate::error::store_error;

/// The channel of every replica. Its names are per database.
pub(crate) const CHANNEL: &str = "lanrage";

pub(crate) struct PostgresListener(PgListener);

impl PostgresListener {
    pub(crate) async fn open(pool: &PgPool) -> Result<Self> {
        let mut listener = PgListener::connect_with(pool).await.map_err(store_error)?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(store_error)?;
        Ok(Self(listener))
    }
}

#[async_trait]
impl Listener for PostgresListener {
    async fn next(&mut self) -> Result<Notice> {
        loop {
            let lost = || StoreError::Unavailable("the connection that listens is lost".into());
            let notification = self.0.try_recv().await.map_err(store_error)?.ok_or_else(lost)?;
            // One that is not read is of a newer version.
            if let Ok(notice) = serde_json::from_str(notification.payload()) {
                return Ok(notice);
            }
        }
    }
}
