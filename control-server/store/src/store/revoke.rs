//! What relays have to be told.

use lanrage_shared::api::relay::Revocation;

use super::{Store, retry};
use crate::error::Result;

impl Store {
    /// The number of the last revocation there was.
    pub async fn last_revocation(&self) -> Result<u64> {
        let mut tx = self.read("last_revocation").await?;
        let last = tx.last_revocation().await?;
        tx.commit().await?;
        Ok(last)
    }

    /// At most `limit` revocations after number `seq`, in order. Whoever has seen a number has seen all below it.
    pub async fn revocations_after(&self, seq: u64, limit: u32) -> Result<Vec<Revocation>> {
        let mut tx = self.read("revocations_after").await?;
        let revocations = tx.revocations_after(seq, limit).await?;
        tx.commit().await?;
        Ok(revocations)
    }

    /// Drops revocations from before `before_ms`.
    pub async fn delete_revocations(&self, before_ms: u64) -> Result<()> {
        retry!(self.try_delete_revocations(before_ms))
    }

    async fn try_delete_revocations(&self, before_ms: u64) -> Result<()> {
        let mut tx = self.write_long("delete_revocations").await?;
        tx.drop_revocations(before_ms).await?;
        tx.commit().await
    }
}
