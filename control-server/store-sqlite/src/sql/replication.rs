//! The statements about soft state. Nobody else works on the database: nothing is announced, and a clock is that of this machine.

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::PartyId;
use lanrage_store::columns::{Columns, number, replica, signed, soft_write};
use lanrage_store::{News, ReplicaRow, Replication, Result, SoftWrite, select};
use serde_json::json;
use uuid::Uuid;

use super::SqliteTransaction;

/// Milliseconds since the Unix epoch.
macro_rules! now_ms {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

#[async_trait]
impl Replication for SqliteTransaction {
    async fn announce(&mut self, _: &News) -> Result<()> {
        Ok(())
    }

    async fn save_replica(&mut self, replica: &ReplicaRow) -> Result<()> {
        let statement = sqlx::query(concat!(
            "INSERT INTO replicas (id, name, pin, seen_at_ms) VALUES (?1, ?2, ?3, ",
            now_ms!(),
            ") ON CONFLICT (id) DO UPDATE SET seen_at_ms = excluded.seen_at_ms"
        ))
        .bind(signed(replica.id.0))
        .bind(replica.name.as_str())
        .bind(replica.pin.0.to_vec());
        self.run(statement).await.map(drop)
    }

    async fn drop_replica(&mut self, name: &str) -> Result<()> {
        let statement = sqlx::query("DELETE FROM replicas WHERE name = ?1").bind(name);
        self.run(statement).await.map(drop)
    }

    async fn replicas(&mut self, lease_ms: u64) -> Result<Vec<ReplicaRow>> {
        let statement = sqlx::query(concat!(
            "SELECT id, name, pin FROM replicas WHERE seen_at_ms >= ",
            now_ms!(),
            " - ?1 ORDER BY id"
        ))
        .bind(signed(lease_ms));
        self.all(statement).await?.iter().map(replica).collect()
    }

    async fn save_soft_writes(&mut self, writes: &[SoftWrite]) -> Result<u64> {
        let rows = writes.iter().map(|write| {
            let (scope, field) = write.key.columns();
            let seen_time = write.seen.map(|seen| signed(seen.time));
            let seen_replica = write.seen.map(|seen| signed(seen.replica.0));
            let (replica, time) = (signed(write.stamp.replica.0), signed(write.stamp.time));
            json!([
                scope.simple().to_string(),
                field,
                replica,
                time,
                seen_time,
                seen_replica,
                write.gone,
                write.value
            ])
        });
        let rows = serde_json::Value::Array(rows.collect()).to_string();
        let statement = sqlx::query(
            "INSERT INTO soft_writes (scope, field, replica, time, seen_time, seen_replica, gone, value) \
             SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
             value ->> 7 FROM json_each(?1) WHERE true ON CONFLICT (scope, field, replica) DO UPDATE SET \
             time = excluded.time, seen_time = excluded.seen_time, seen_replica = excluded.seen_replica, \
             gone = excluded.gone, value = excluded.value WHERE excluded.time > soft_writes.time",
        )
        .bind(rows);
        self.run(statement).await
    }

    async fn soft_writes_after(&mut self, marks: &[(ReplicaId, u64)]) -> Result<Vec<SoftWrite>> {
        let marks = marks
            .iter()
            .map(|(replica, time)| json!([signed(replica.0), signed(*time)]));
        let marks = serde_json::Value::Array(marks.collect()).to_string();
        let statement = sqlx::query(select!(soft_writes "JOIN json_each(?1) AS mark \
             ON soft_writes.replica = mark.value ->> 0 AND soft_writes.time > mark.value ->> 1"))
        .bind(marks);
        let rows = self.all(statement).await?;
        rows.iter().filter_map(|row| soft_write(row).transpose()).collect()
    }

    async fn soft_writes_of(&mut self, scope: Uuid) -> Result<Vec<SoftWrite>> {
        let statement = sqlx::query(select!(soft_writes "WHERE scope = ?1 ORDER BY field, replica")).bind(scope);
        let rows = self.all(statement).await?;
        rows.iter().filter_map(|row| soft_write(row).transpose()).collect()
    }

    async fn drop_soft_writes(&mut self, silent_ms: u64, gone_before: u64) -> Result<()> {
        let silent = sqlx::query(concat!("DELETE FROM replicas WHERE seen_at_ms < ", now_ms!(), " - ?1"))
            .bind(signed(silent_ms));
        self.run(silent).await?;
        let statement = sqlx::query(
            "DELETE FROM soft_writes WHERE (gone AND time < ?1) \
             OR NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.id = soft_writes.replica)",
        )
        .bind(signed(gone_before));
        self.run(statement).await.map(drop)
    }

    async fn last_numbers(&mut self, parties: &[PartyId]) -> Result<Vec<(PartyId, u64)>> {
        let parties = parties.iter().map(|party| party.0.simple().to_string());
        let parties = serde_json::Value::from_iter(parties).to_string();
        let statement = sqlx::query("SELECT id, seq FROM parties WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(parties);
        let rows = self.all(statement).await?;
        rows.iter()
            .map(|row| Ok((PartyId(row.uuid("id")?), number(row, "seq")?)))
            .collect()
    }
}
