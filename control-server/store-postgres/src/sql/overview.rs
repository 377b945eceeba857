//! Statements about all parties.

use async_trait::async_trait;
use lanrage_shared::ids::PartyId;
use lanrage_store::columns::number;
use lanrage_store::{Overview, PartyRow, Result, StoreError, Totals, select};
use uuid::Uuid;

use super::PostgresTransaction;

#[async_trait]
impl Overview for PostgresTransaction {
    async fn totals(&mut self) -> Result<Totals> {
        let statement = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM parties) AS parties, \
             (SELECT COUNT(*) FROM seats WHERE left_at_ms IS NULL) AS members",
        );
        let row = self.one(statement).await?;
        let row = row.ok_or_else(|| StoreError::Internal("a count has no row".into()))?;
        Ok(Totals {
            parties: number(&row, "parties")?,
            members: number(&row, "members")?,
        })
    }

    async fn parties_after(&mut self, after: Option<PartyId>, limit: u32) -> Result<Vec<PartyRow>> {
        let statement = sqlx::query(select!(parties "WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(after.map_or(Uuid::nil(), |id| id.0))
            .bind(i64::from(limit));
        self.all(statement).await?.iter().map(PartyRow::read).collect()
    }
}
