//! The statements.

mod overview;
mod removal;
mod replication;

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_store::columns::{Columns, number, signed};
use lanrage_store::{InviteRow, PartyRow, Result, SeatRow, Transaction, select};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use uuid::Uuid;

use crate::error::store_error;

pub(crate) struct PostgresTransaction {
    pub(crate) inner: sqlx::Transaction<'static, Postgres>,
    /// Whose transaction it is.
    pub(crate) replica: ReplicaId,
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl PostgresTransaction {
    async fn all(&mut self, statement: Statement<'_>) -> Result<Vec<Columned>> {
        let rows = statement.fetch_all(&mut *self.inner).await.map_err(store_error)?;
        Ok(rows.into_iter().map(Columned).collect())
    }

    async fn one(&mut self, statement: Statement<'_>) -> Result<Option<Columned>> {
        let row = statement.fetch_optional(&mut *self.inner).await.map_err(store_error)?;
        Ok(row.map(Columned))
    }

    /// How many rows it changed.
    async fn run(&mut self, statement: Statement<'_>) -> Result<u64> {
        let done = statement.execute(&mut *self.inner).await.map_err(store_error)?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn commit(self: Box<Self>) -> Result<()> {
        self.inner.commit().await.map_err(store_error)
    }

    async fn secret(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let statement = sqlx::query("SELECT value FROM secrets WHERE name = $1").bind(name);
        self.one(statement).await?.map(|row| row.bytes("value")).transpose()
    }

    async fn insert_secret(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let statement = sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(value);
        self.run(statement).await.map(drop)
    }

    async fn counter(&mut self, name: &str) -> Result<Option<u64>> {
        let statement = sqlx::query("SELECT value FROM counters WHERE name = $1").bind(name);
        let row = self.one(statement).await?;
        row.map(|row| number(&row, "value")).transpose()
    }

    async fn set_counter(&mut self, name: &str, value: u64) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO counters (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(signed(value));
        self.run(statement).await.map(drop)
    }

    async fn party(&mut self, id: PartyId) -> Result<Option<PartyRow>> {
        let statement = sqlx::query(select!(parties "WHERE id = $1")).bind(id.0);
        self.one(statement).await?.map(|row| PartyRow::read(&row)).transpose()
    }

    async fn lock_party(&mut self, id: PartyId) -> Result<Option<PartyRow>> {
        let statement = sqlx::query(select!(parties "WHERE id = $1 FOR UPDATE")).bind(id.0);
        self.one(statement).await?.map(|row| PartyRow::read(&row)).transpose()
    }

    async fn lock_device(&mut self, device: DeviceId) -> Result<()> {
        let [a, b, c, d, e, f, g, h, ..] = device.0;
        let statement =
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(i64::from_be_bytes([a, b, c, d, e, f, g, h]));
        self.run(statement).await.map(drop)
    }

    async fn parties_of(&mut self, device: DeviceId) -> Result<Vec<PartyId>> {
        let statement = sqlx::query("SELECT party FROM seats WHERE device = $1 AND left_at_ms IS NULL ORDER BY party")
            .bind(device.0.to_vec());
        let rows = self.all(statement).await?;
        rows.iter().map(|row| row.uuid("party").map(PartyId)).collect()
    }

    async fn empty_parties(&mut self) -> Result<Vec<PartyId>> {
        let statement = sqlx::query(
            "SELECT id FROM parties WHERE NOT persistent AND NOT EXISTS \
             (SELECT 1 FROM seats WHERE seats.party = parties.id AND seats.left_at_ms IS NULL) ORDER BY id",
        );
        let rows = self.all(statement).await?;
        rows.iter().map(|row| row.uuid("id").map(PartyId)).collect()
    }

    async fn forgotten_parties(&mut self, before_ms: u64) -> Result<Vec<PartyId>> {
        let statement = sqlx::query(
            "SELECT id FROM parties WHERE created_at_ms < $1 AND NOT EXISTS \
             (SELECT 1 FROM seats WHERE seats.party = parties.id \
             AND greatest(seats.last_seen_ms, coalesce(seats.left_at_ms, 0)) >= $1) ORDER BY id",
        )
        .bind(signed(before_ms));
        let rows = self.all(statement).await?;
        rows.iter().map(|row| row.uuid("id").map(PartyId)).collect()
    }

    async fn insert_party(&mut self, party: &PartyRow) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO parties (id, name, host, epoch, version, seq, persistent, max_members, net_index, created_at_ms, secret_epoch, locked) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(party.id.0)
        .bind(party.name.as_str())
        .bind(i64::from(party.host.0))
        .bind(i64::from(party.epoch))
        .bind(signed(party.version))
        .bind(signed(party.seq))
        .bind(party.persistent)
        .bind(i64::from(party.max_members))
        .bind(i64::from(party.net_index))
        .bind(signed(party.created_at_ms))
        .bind(i64::from(party.secret_epoch))
        .bind(party.locked);
        self.run(statement).await.map(drop)
    }

    async fn save_party(&mut self, party: &PartyRow) -> Result<()> {
        let statement = sqlx::query(
            "UPDATE parties SET name = $2, host = $3, epoch = $4, version = $5, seq = $6, persistent = $7, max_members = $8, \
             secret_epoch = $9, net_index = $10, locked = $11 WHERE id = $1",
        )
        .bind(party.id.0)
        .bind(party.name.as_str())
        .bind(i64::from(party.host.0))
        .bind(i64::from(party.epoch))
        .bind(signed(party.version))
        .bind(signed(party.seq))
        .bind(party.persistent)
        .bind(i64::from(party.max_members))
        .bind(i64::from(party.secret_epoch))
        .bind(i64::from(party.net_index))
        .bind(party.locked);
        self.run(statement).await.map(drop)
    }

    async fn delete_party(&mut self, id: PartyId) -> Result<()> {
        let statement = sqlx::query("DELETE FROM parties WHERE id = $1").bind(id.0);
        self.run(statement).await.map(drop)
    }

    async fn seats(&mut self, party: PartyId) -> Result<Vec<SeatRow>> {
        let statement = sqlx::query(select!(seats "WHERE party = $1 ORDER BY number")).bind(party.0);
        self.all(statement).await?.iter().map(SeatRow::read).collect()
    }

    async fn insert_seat(&mut self, party: PartyId, seat: &SeatRow) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO seats (party, number, device, identity_key, device_key, name, joined_at_ms, last_seen_ms, left_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(party.0)
        .bind(i64::from(seat.number.0))
        .bind(seat.device.0.to_vec())
        .bind(seat.identity_key.0.to_vec())
        .bind(seat.device_key.0.to_vec())
        .bind(seat.name.as_str())
        .bind(signed(seat.joined_at_ms))
        .bind(signed(seat.last_seen_ms))
        .bind(seat.left_at_ms.map(signed));
        self.run(statement).await.map(drop)
    }

    async fn save_seat(&mut self, party: PartyId, seat: &SeatRow) -> Result<()> {
        let statement = sqlx::query(
            "UPDATE seats SET device_key = $3, name = $4, joined_at_ms = $5, last_seen_ms = $6, left_at_ms = $7 \
             WHERE party = $1 AND number = $2",
        )
        .bind(party.0)
        .bind(i64::from(seat.number.0))
        .bind(seat.device_key.0.to_vec())
        .bind(seat.name.as_str())
        .bind(signed(seat.joined_at_ms))
        .bind(signed(seat.last_seen_ms))
        .bind(seat.left_at_ms.map(signed));
        self.run(statement).await.map(drop)
    }

    async fn delete_seat(&mut self, party: PartyId, number: MemberId) -> Result<()> {
        let statement = sqlx::query("DELETE FROM seats WHERE party = $1 AND number = $2")
            .bind(party.0)
            .bind(i64::from(number.0));
        self.run(statement).await.map(drop)
    }

    async fn mark_seen(&mut self, seen: &[(PartyId, MemberId, u64)]) -> Result<u64> {
        let parties: Vec<Uuid> = seen.iter().map(|(party, ..)| party.0).collect();
        let numbers: Vec<i64> = seen.iter().map(|(_, member, _)| i64::from(member.0)).collect();
        let times: Vec<i64> = seen.iter().map(|(_, _, at_ms)| signed(*at_ms)).collect();
        let statement = sqlx::query(
            "UPDATE seats SET last_seen_ms = greatest(last_seen_ms, seen.at_ms) \
             FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS seen (party, number, at_ms) \
             WHERE seats.party = seen.party AND seats.number = seen.number AND left_at_ms IS NULL",
        )
        .bind(parties)
        .bind(numbers)
        .bind(times);
        self.run(statement).await
    }

    async fn unseen_since(&mut self, before_ms: u64) -> Result<Vec<(PartyId, DeviceId)>> {
        let statement = sqlx::query(
            "SELECT seats.party, seats.device FROM seats JOIN parties ON parties.id = seats.party \
             WHERE seats.left_at_ms IS NULL AND seats.last_seen_ms < $1 \
             AND NOT (parties.persistent AND parties.host = seats.number) ORDER BY seats.party, seats.number",
        )
        .bind(signed(before_ms));
        let rows = self.all(statement).await?;
        rows.iter().map(unseen).collect()
    }

    async fn without_host(&mut self, gone_ms: u64, present_ms: u64) -> Result<Vec<(PartyId, MemberId)>> {
        let statement = sqlx::query(
            "SELECT parties.id, parties.host FROM parties JOIN seats AS host ON host.party = parties.id AND host.number = parties.host \
             WHERE host.left_at_ms IS NULL AND host.last_seen_ms < $1 AND EXISTS \
             (SELECT 1 FROM seats WHERE seats.party = parties.id AND seats.left_at_ms IS NULL \
             AND seats.last_seen_ms >= $2) ORDER BY parties.id",
        )
        .bind(signed(gone_ms))
        .bind(signed(present_ms));
        let rows = self.all(statement).await?;
        rows.iter()
            .map(|row| Ok((PartyId(row.uuid("id")?), MemberId(number(row, "host")?))))
            .collect()
    }

    async fn append_event(&mut self, party: PartyId, seq: u64, json: &str, at_ms: u64) -> Result<()> {
        let statement = sqlx::query("INSERT INTO events (party, seq, json, at_ms) VALUES ($1, $2, $3, $4)")
            .bind(party.0)
            .bind(signed(seq))
            .bind(json)
            .bind(signed(at_ms));
        self.run(statement).await.map(drop)
    }

    async fn drop_events(&mut self, party: PartyId, seq: u64) -> Result<()> {
        let statement = sqlx::query("DELETE FROM events WHERE party = $1 AND seq <= $2")
            .bind(party.0)
            .bind(signed(seq));
        self.run(statement).await.map(drop)
    }

    async fn events_after(&mut self, party: PartyId, seq: u64) -> Result<Vec<(u64, String)>> {
        let statement = sqlx::query("SELECT seq, json FROM events WHERE party = $1 AND seq > $2 ORDER BY seq")
            .bind(party.0)
            .bind(signed(seq));
        let rows = self.all(statement).await?;
        rows.iter()
            .map(|row| Ok((number(row, "seq")?, row.text("json")?)))
            .collect()
    }

    async fn insert_invite(&mut self, invite: &InviteRow) -> Result<bool> {
        let statement = sqlx::query(
            "INSERT INTO invites (id, party, auth_hash, sealed_secret, expires_at_ms, max_uses, uses, created_at_ms, secret_epoch) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (auth_hash) DO NOTHING",
        )
        .bind(invite.id)
        .bind(invite.party.0)
        .bind(invite.auth_hash.to_vec())
        .bind(invite.sealed_secret.as_slice())
        .bind(signed(invite.expires_at_ms))
        .bind(invite.max_uses.map(i64::from))
        .bind(i64::from(invite.uses))
        .bind(signed(invite.created_at_ms))
        .bind(i64::from(invite.secret_epoch));
        Ok(self.run(statement).await? == 1)
    }

    async fn invite(&mut self, auth_hash: &[u8; 32]) -> Result<Option<InviteRow>> {
        let statement = sqlx::query(select!(invites "WHERE auth_hash = $1")).bind(auth_hash.to_vec());
        self.one(statement).await?.map(|row| InviteRow::read(&row)).transpose()
    }

    async fn invites(&mut self, party: PartyId) -> Result<Vec<InviteRow>> {
        let statement = sqlx::query(select!(invites "WHERE party = $1 ORDER BY created_at_ms, id")).bind(party.0);
        self.all(statement).await?.iter().map(InviteRow::read).collect()
    }

    async fn delete_invite(&mut self, party: PartyId, id: Uuid) -> Result<bool> {
        let statement = sqlx::query("DELETE FROM invites WHERE party = $1 AND id = $2")
            .bind(party.0)
            .bind(id);
        Ok(self.run(statement).await? == 1)
    }

    async fn use_invite(&mut self, id: Uuid, now_ms: u64) -> Result<bool> {
        let statement = sqlx::query(
            "UPDATE invites SET uses = uses + 1 \
             WHERE id = $1 AND expires_at_ms > $2 AND (max_uses IS NULL OR uses < max_uses)",
        )
        .bind(id)
        .bind(signed(now_ms));
        Ok(self.run(statement).await? == 1)
    }

    async fn count_invites(&mut self, party: PartyId, now_ms: u64) -> Result<u64> {
        let statement = sqlx::query("SELECT count(*) AS invites FROM invites WHERE party = $1 AND expires_at_ms > $2")
            .bind(party.0)
            .bind(signed(now_ms));
        self.one(statement).await?.map_or(Ok(0), |row| number(&row, "invites"))
    }

    async fn trim_invites(&mut self, party: PartyId, kept: u64, now_ms: u64) -> Result<()> {
        let statement = sqlx::query(
            "DELETE FROM invites WHERE id IN (SELECT id FROM invites WHERE party = $1 AND expires_at_ms <= $2 \
             ORDER BY expires_at_ms DESC, id OFFSET $3)",
        )
        .bind(party.0)
        .bind(signed(now_ms))
        .bind(signed(kept));
        self.run(statement).await.map(drop)
    }

    async fn delete_invites_expired(&mut self, before_ms: u64) -> Result<u64> {
        let statement = sqlx::query("DELETE FROM invites WHERE expires_at_ms < $1").bind(signed(before_ms));
        self.run(statement).await
    }
}

fn unseen(row: &Columned) -> Result<(PartyId, DeviceId)> {
    let device = lanrage_store::columns::array(row, "device")?;
    Ok((PartyId(row.uuid("party")?), DeviceId(device)))
}

struct Columned(PgRow);

impl Columns for Columned {
    fn integer(&self, column: &str) -> Result<i64> {
        self.0.try_get(column).map_err(store_error)
    }
    fn optional_integer(&self, column: &str) -> Result<Option<i64>> {
        self.0.try_get(column).map_err(store_error)
    }
    fn boolean(&self, column: &str) -> Result<bool> {
        self.0.try_get(column).map_err(store_error)
    }
    fn text(&self, column: &str) -> Result<String> {
        self.0.try_get(column).map_err(store_error)
    }
    fn bytes(&self, column: &str) -> Result<Vec<u8>> {
        self.0.try_get(column).map_err(store_error)
    }
    fn uuid(&self, column: &str) -> Result<Uuid> {
        self.0.try_get(column).map_err(store_error)
    }
}
