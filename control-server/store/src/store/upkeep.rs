//! What nobody asks for and has to be done.

use lanrage_shared::ids::{DeviceId, PartyId};

use super::{Store, retry};
use crate::error::Result;

impl Store {
    /// Members last seen before `before_ms`, except the hosts of persistent parties.
    pub async fn unseen_since(&self, before_ms: u64) -> Result<Vec<(PartyId, DeviceId)>> {
        let mut tx = self.read_long("unseen_since").await?;
        let unseen = tx.unseen_since(before_ms).await?;
        tx.commit().await?;
        Ok(unseen)
    }

    /// Drops invites that expired before `before_ms`; how many there were.
    pub async fn delete_invites_expired(&self, before_ms: u64) -> Result<u64> {
        retry!(self.try_delete_invites_expired(before_ms))
    }

    async fn try_delete_invites_expired(&self, before_ms: u64) -> Result<u64> {
        let mut tx = self.write_long("delete_invites_expired").await?;
        let deleted = tx.delete_invites_expired(before_ms).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Ends parties that have no members and are not persistent; how many there were.
    pub async fn delete_empty_parties(&self) -> Result<usize> {
        retry!(self.try_delete_empty_parties())
    }

    /// Ends parties, persistent or not, that nobody was in since `before_ms`; how many there were.
    pub async fn delete_forgotten_parties(&self, before_ms: u64) -> Result<usize> {
        retry!(self.try_delete_forgotten_parties(before_ms))
    }

    async fn try_delete_forgotten_parties(&self, before_ms: u64) -> Result<usize> {
        let mut tx = self.write_long("delete_forgotten_parties").await?;
        let mut deleted = 0;
        for party in tx.forgotten_parties(before_ms).await? {
            // As above: somebody may have come since.
            if tx.lock_party(party).await?.is_none() {
                continue;
            }
            let seats = tx.seats(party).await?;
            if seats.iter().all(|seat| seat.last_here_ms() < before_ms) {
                tx.delete_party(party).await?;
                deleted += 1;
            }
        }
        tx.commit().await?;
        Ok(deleted)
    }

    async fn try_delete_empty_parties(&self) -> Result<usize> {
        let mut tx = self.write_long("delete_empty_parties").await?;
        let mut deleted = 0;
        for party in tx.empty_parties().await? {
            // Somebody may have joined since; the lock makes the second look the true one.
            let Some(row) = tx.lock_party(party).await? else {
                continue;
            };
            let occupied = tx.seats(party).await?.iter().any(|seat| seat.is_member());
            if !occupied && !row.persistent {
                tx.delete_party(party).await?;
                deleted += 1;
            }
        }
        tx.commit().await?;
        Ok(deleted)
    }
}
