//! The statements about who was removed, and what follows from that.

use async_trait::async_trait;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::ids::{DeviceId, IdentityKey, MemberId, PartyId};
use lanrage_store::columns::{Columns, joined_keys, number, revocation, sealed_secret, signed};
use lanrage_store::{BanRow, Removals, Result, select};
use uuid::Uuid;

use super::SqliteTransaction;

#[async_trait]
impl Removals for SqliteTransaction {
    async fn reseal_invite(
        &mut self,
        party: PartyId,
        auth_hash: &[u8; 32],
        sealed_secret: &[u8],
        epoch: u32,
    ) -> Result<()> {
        let statement = sqlx::query(
            "UPDATE invites SET sealed_secret = ?3, secret_epoch = ?4 \
             WHERE party = ?1 AND auth_hash = ?2 AND length(sealed_secret) > 0",
        )
        .bind(party.0)
        .bind(auth_hash.to_vec())
        .bind(sealed_secret)
        .bind(i64::from(epoch));
        self.run(statement).await.map(drop)
    }

    async fn end_invites(&mut self, party: PartyId, epoch: u32, now_ms: u64) -> Result<()> {
        let statement = sqlx::query(
            "UPDATE invites SET expires_at_ms = min(expires_at_ms, ?3), sealed_secret = x'' \
             WHERE party = ?1 AND secret_epoch < ?2",
        )
        .bind(party.0)
        .bind(i64::from(epoch))
        .bind(signed(now_ms));
        self.run(statement).await.map(drop)
    }

    async fn insert_secret_for(&mut self, party: PartyId, secret: &SealedSecret) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO sealed_secrets (party, to_member, epoch, from_member, from_key, sealed) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(party.0)
        .bind(i64::from(secret.to.0))
        .bind(i64::from(secret.epoch))
        .bind(i64::from(secret.from.0))
        .bind(secret.from_key.0.to_vec())
        .bind(secret.sealed.as_str());
        self.run(statement).await.map(drop)
    }

    async fn secrets_for(&mut self, party: PartyId, member: MemberId) -> Result<Vec<SealedSecret>> {
        let statement = sqlx::query(select!(sealed_secrets "WHERE party = ?1 AND to_member = ?2 ORDER BY epoch"))
            .bind(party.0)
            .bind(i64::from(member.0));
        self.all(statement).await?.iter().map(sealed_secret).collect()
    }

    async fn drop_secrets_for(&mut self, party: PartyId, member: MemberId, epoch: u32) -> Result<()> {
        let statement = sqlx::query("DELETE FROM sealed_secrets WHERE party = ?1 AND to_member = ?2 AND epoch <= ?3")
            .bind(party.0)
            .bind(i64::from(member.0))
            .bind(i64::from(epoch));
        self.run(statement).await.map(drop)
    }

    async fn drop_secrets(&mut self, party: PartyId, epoch: u32) -> Result<()> {
        let statement = sqlx::query("DELETE FROM sealed_secrets WHERE party = ?1 AND epoch <= ?2")
            .bind(party.0)
            .bind(i64::from(epoch));
        self.run(statement).await.map(drop)
    }

    async fn note_arrival(&mut self, party: PartyId, member: MemberId, invite: Uuid) -> Result<()> {
        let statement = sqlx::query("UPDATE seats SET invite = ?3 WHERE party = ?1 AND number = ?2")
            .bind(party.0)
            .bind(i64::from(member.0))
            .bind(invite);
        self.run(statement).await.map(drop)
    }

    async fn arrival(&mut self, party: PartyId, member: MemberId) -> Result<Option<Uuid>> {
        let statement = sqlx::query("SELECT invite FROM seats WHERE party = ?1 AND number = ?2 AND invite IS NOT NULL")
            .bind(party.0)
            .bind(i64::from(member.0));
        self.one(statement).await?.map(|row| row.uuid("invite")).transpose()
    }

    async fn insert_ban(&mut self, party: PartyId, ban: &BanRow) -> Result<()> {
        let statement = sqlx::query(
            "INSERT INTO bans (party, device, identity_key, name, at_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (party, device) DO NOTHING",
        )
        .bind(party.0)
        .bind(ban.device.0.to_vec())
        .bind(ban.identity_key.0.to_vec())
        .bind(ban.name.as_str())
        .bind(signed(ban.at_ms));
        self.run(statement).await.map(drop)
    }

    async fn bans(&mut self, party: PartyId) -> Result<Vec<BanRow>> {
        let statement = sqlx::query(select!(bans "WHERE party = ?1 ORDER BY at_ms, device")).bind(party.0);
        self.all(statement).await?.iter().map(BanRow::read).collect()
    }

    async fn delete_ban(&mut self, party: PartyId, device: DeviceId) -> Result<bool> {
        let statement = sqlx::query("DELETE FROM bans WHERE party = ?1 AND device = ?2")
            .bind(party.0)
            .bind(device.0.to_vec());
        Ok(self.run(statement).await? == 1)
    }

    async fn append_revocation(
        &mut self,
        party: PartyId,
        epoch: u32,
        removed: &[IdentityKey],
        at_ms: u64,
    ) -> Result<()> {
        let counted = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'revocation'");
        self.run(counted).await?;
        let statement = sqlx::query(
            "INSERT INTO revocations (seq, party, epoch, removed, at_ms) \
             SELECT value, ?1, ?2, ?3, ?4 FROM counters WHERE name = 'revocation'",
        )
        .bind(party.0)
        .bind(i64::from(epoch))
        .bind(joined_keys(removed))
        .bind(signed(at_ms));
        self.run(statement).await.map(drop)
    }

    async fn last_revocation(&mut self) -> Result<u64> {
        let statement = sqlx::query("SELECT value FROM counters WHERE name = 'revocation'");
        self.one(statement).await?.map_or(Ok(0), |row| number(&row, "value"))
    }

    async fn revocations_after(&mut self, seq: u64, limit: u32) -> Result<Vec<Revocation>> {
        let statement = sqlx::query(select!(revocations "WHERE seq > ?1 ORDER BY seq LIMIT ?2"))
            .bind(signed(seq))
            .bind(i64::from(limit));
        self.all(statement).await?.iter().map(revocation).collect()
    }

    async fn drop_revocations(&mut self, before_ms: u64) -> Result<()> {
        let statement = sqlx::query("DELETE FROM revocations WHERE at_ms < ?1").bind(signed(before_ms));
        self.run(statement).await.map(drop)
    }
}
