//! The statements about several servers on one database, and about soft state.

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::PartyId;
use lanrage_store::columns::{Columns, number, replica, signed, soft_write};
use lanrage_store::{News, Notice, ReplicaRow, Replication, Result, SoftWrite, StoreError, select};
use uuid::Uuid;

use super::PostgresTransaction;
use crate::listen::CHANNEL;

/// Milliseconds since the Unix epoch by the database's clock.
macro_rules! now_ms {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    };
}

#[async_trait]
impl Replication for PostgresTransaction {
    async fn announce(&mut self, news: &News) -> Result<()> {
        let notice = Notice {
            from: self.replica,
            news: news.clone(),
        };
        let text = serde_json::to_string(&notice).map_err(|error| StoreError::Internal(error.to_string()))?;
        let statement = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(text);
        self.run(statement).await.map(drop)
    }

    async fn save_replica(&mut self, replica: &ReplicaRow) -> Result<()> {
        let statement = sqlx::query(concat!(
            "INSERT INTO replicas (id, name, pin, seen_at_ms) VALUES ($1, $2, $3, ",
            now_ms!(),
            ") ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms"
        ))
        .bind(signed(replica.id.0))
        .bind(replica.name.as_str())
        .bind(replica.pin.0.to_vec());
        self.run(statement).await.map(drop)
    }

    async fn drop_replica(&mut self, name: &str) -> Result<()> {
        let statement = sqlx::query("DELETE FROM replicas WHERE name = $1").bind(name);
        self.run(statement).await.map(drop)
    }

    async fn replicas(&mut self, lease_ms: u64) -> Result<Vec<ReplicaRow>> {
        let statement = sqlx::query(concat!(
            "SELECT id, name, pin FROM replicas WHERE seen_at_ms >= ",
            now_ms!(),
            " - $1 ORDER BY id"
        ))
        .bind(signed(lease_ms));
        self.all(statement).await?.iter().map(replica).collect()
    }

    async fn save_soft_writes(&mut self, writes: &[SoftWrite]) -> Result<u64> {
        let (scopes, fields): (Vec<Uuid>, Vec<String>) = writes.iter().map(|write| write.key.columns()).unzip();
        let seen_time = |write: &SoftWrite| write.seen.map(|seen| signed(seen.time));
        let seen_replica = |write: &SoftWrite| write.seen.map(|seen| signed(seen.replica.0));
        let statement = sqlx::query(
            "INSERT INTO soft_writes (scope, field, replica, time, seen_time, seen_replica, gone, value) \
             SELECT unnest($1::uuid[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bigint[]), \
             unnest($6::bigint[]), unnest($7::boolean[]), unnest($8::text[]) ON CONFLICT (scope, field, replica) DO UPDATE SET time = excluded.time, \
             seen_time = excluded.seen_time, seen_replica = excluded.seen_replica, gone = excluded.gone, \
             value = excluded.value WHERE excluded.time > soft_writes.time",
        )
        .bind(scopes)
        .bind(fields)
        .bind(column(writes, |write| signed(write.stamp.replica.0)))
        .bind(column(writes, |write| signed(write.stamp.time)))
        .bind(column(writes, seen_time))
        .bind(column(writes, seen_replica))
        .bind(column(writes, |write| write.gone))
        .bind(column(writes, |write| write.value.clone()));
        self.run(statement).await
    }

    async fn soft_writes_after(&mut self, marks: &[(ReplicaId, u64)]) -> Result<Vec<SoftWrite>> {
        let replicas: Vec<i64> = marks.iter().map(|(replica, _)| signed(replica.0)).collect();
        let times: Vec<i64> = marks.iter().map(|(_, time)| signed(*time)).collect();
        let statement = sqlx::query(
            select!(soft_writes "JOIN unnest($1::bigint[], $2::bigint[]) AS mark (replica, time) \
             ON soft_writes.replica = mark.replica AND soft_writes.time > mark.time"),
        )
        .bind(replicas)
        .bind(times);
        let rows = self.all(statement).await?;
        rows.iter().filter_map(|row| soft_write(row).transpose()).collect()
    }

    async fn soft_writes_of(&mut self, scope: Uuid) -> Result<Vec<SoftWrite>> {
        let statement = sqlx::query(select!(soft_writes "WHERE scope = $1 ORDER BY field, replica")).bind(scope);
        let rows = self.all(statement).await?;
        rows.iter().filter_map(|row| soft_write(row).transpose()).collect()
    }

    async fn drop_soft_writes(&mut self, silent_ms: u64, gone_before: u64) -> Result<()> {
        let silent = sqlx::query(concat!("DELETE FROM replicas WHERE seen_at_ms < ", now_ms!(), " - $1"))
            .bind(signed(silent_ms));
        self.run(silent).await?;
        let statement = sqlx::query(
            "DELETE FROM soft_writes WHERE (gone AND time < $1) \
             OR NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.id = soft_writes.replica)",
        )
        .bind(signed(gone_before));
        self.run(statement).await.map(drop)
    }

    async fn last_numbers(&mut self, parties: &[PartyId]) -> Result<Vec<(PartyId, u64)>> {
        let parties: Vec<Uuid> = parties.iter().map(|party| party.0).collect();
        let statement = sqlx::query("SELECT id, seq FROM parties WHERE id = ANY($1)").bind(parties);
        let rows = self.all(statement).await?;
        rows.iter()
            .map(|row| Ok((PartyId(row.uuid("id")?), number(row, "seq")?)))
            .collect()
    }
}

fn column<T>(writes: &[SoftWrite], of: impl Fn(&SoftWrite) -> T) -> Vec<T> {
    writes.iter().map(of).collect()
}
