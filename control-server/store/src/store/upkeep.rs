//! What nobody asks for and has to be done.

use lanrage_shared::ids::{DeviceId, PartyId};

use super::{Store, retry};
use crate::error::Result;

/// Names of the counters: when upkeep was last done, and since when there was no long time without it.
const LAST_UPKEEP: &str = "upkeep_ms";
const WATCHED_SINCE: &str = "watched_since_ms";
/// Without upkeep for longer than this, nobody was there to see members.
const UNWATCHED_MS: u64 = 24 * 3600 * 1000;

/// Since when members would have been seen, of a database whose upkeep was last done at `last_ms`. A clock that was set far back says
/// as little as a server that was away.
fn watched_since(last_ms: Option<u64>, since_ms: Option<u64>, now_ms: u64) -> u64 {
    match (last_ms, since_ms) {
        (Some(last_ms), Some(since_ms)) if now_ms.abs_diff(last_ms) <= UNWATCHED_MS => since_ms,
        _ => now_ms,
    }
}

impl Store {
    /// Notes that upkeep is done now. Gives since when some server has been at work on this database without a day's break: who was not
    /// seen before that may have had no server to be seen by.
    pub async fn watched_since(&self, now_ms: u64) -> Result<u64> {
        retry!(self.try_watched_since(now_ms))
    }

    async fn try_watched_since(&self, now_ms: u64) -> Result<u64> {
        let mut tx = self.write_long("watched_since").await?;
        let (last_ms, since_ms) = (tx.counter(LAST_UPKEEP).await?, tx.counter(WATCHED_SINCE).await?);
        let watched_since_ms = watched_since(last_ms, since_ms, now_ms);
        tx.set_counter(WATCHED_SINCE, watched_since_ms).await?;
        tx.set_counter(LAST_UPKEEP, now_ms).await?;
        tx.commit().await?;
        Ok(watched_since_ms)
    }

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
