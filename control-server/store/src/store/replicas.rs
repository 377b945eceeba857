//! Several servers on one database: who they are, what they say of members and relays, and how they tell one another.

use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::PartyEvent;
use uuid::Uuid;

use super::read::parse_all;
use super::{Store, retry};
use crate::error::Result;
use crate::news::{Listener, News};
use crate::soft::{ReplicaRow, SoftWrite};

/// A replica that was not there for this long, by the database's clock, is gone, and its members are offline.
pub const LEASE_MS: u64 = 15_000;
/// What replicas that are gone said is kept this long: a replica that only could not reach the database says it anew.
const GONE_KEPT_MS: u64 = 3_600_000;

impl Store {
    /// Whether other servers may work on the same database.
    pub fn is_shared(&self) -> bool {
        self.watched.database.is_shared()
    }

    /// The number of this run of the server.
    pub fn replica(&self) -> ReplicaId {
        self.watched.database.replica()
    }

    /// Hears of other replicas; none where there can be no others.
    pub async fn listen(&self) -> Result<Option<Box<dyn Listener>>> {
        self.watched.database.listen().await
    }

    /// Takes a place among the replicas, and that of a former run of the same name. Gives another replica that shows another key
    /// instead, if there is one: agents would take the two for different servers.
    pub async fn join(&self, me: &ReplicaRow) -> Result<Option<ReplicaRow>> {
        retry!(self.try_join(me))
    }

    async fn try_join(&self, me: &ReplicaRow) -> Result<Option<ReplicaRow>> {
        let mut tx = self.write("join").await?;
        let there = tx.replicas(LEASE_MS).await?;
        let other = there.into_iter().find(|other| other.pin != me.pin);
        if other.is_none() {
            tx.drop_replica(&me.name).await?;
            tx.save_replica(me).await?;
            tx.announce(&News::Here).await?;
            tx.commit().await?;
        }
        Ok(other)
    }

    /// Says that this replica is there. Gives those that are, itself included.
    pub async fn beat(&self, me: &ReplicaRow) -> Result<Vec<ReplicaRow>> {
        retry!(self.try_beat(me))
    }

    async fn try_beat(&self, me: &ReplicaRow) -> Result<Vec<ReplicaRow>> {
        let mut tx = self.write("beat").await?;
        tx.save_replica(me).await?;
        let there = tx.replicas(LEASE_MS).await?;
        tx.announce(&News::Here).await?;
        tx.commit().await?;
        Ok(there)
    }

    /// Gives up this replica's place.
    pub async fn part(&self, me: &ReplicaRow) -> Result<()> {
        let mut tx = self.write("part").await?;
        tx.drop_replica(&me.name).await?;
        tx.announce(&News::Here).await?;
        tx.commit().await
    }

    /// Keeps soft writes of this replica and when members were last seen, each in one statement. Gives the rows written.
    pub async fn save_soft(&self, writes: &[SoftWrite], seen: &[(PartyId, MemberId, u64)]) -> Result<u64> {
        // In one order everywhere, so that two replicas do not wait for each other.
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        retry!(self.try_save_soft(writes, &seen))
    }

    async fn try_save_soft(&self, writes: &[SoftWrite], seen: &[(PartyId, MemberId, u64)]) -> Result<u64> {
        let mut tx = self.write("save_soft").await?;
        let mut rows = 0;
        if !writes.is_empty() {
            rows += tx.save_soft_writes(writes).await?;
            tx.announce(&News::Saved).await?;
        }
        if !seen.is_empty() {
            rows += tx.mark_seen(seen).await?;
        }
        tx.commit().await?;
        Ok(rows)
    }

    /// Writes of each of these replicas that are later than the time beside it.
    pub async fn soft_writes_after(&self, marks: &[(ReplicaId, u64)]) -> Result<Vec<SoftWrite>> {
        let mut tx = self.read("soft_writes_after").await?;
        let writes = tx.soft_writes_after(marks).await?;
        tx.commit().await?;
        Ok(writes)
    }

    /// What all replicas wrote about a party's members.
    pub async fn soft_writes_of(&self, party: PartyId) -> Result<Vec<SoftWrite>> {
        let mut tx = self.read("soft_writes_of").await?;
        let writes = tx.soft_writes_of(party.0).await?;
        tx.commit().await?;
        Ok(writes)
    }

    /// What all replicas wrote about relays.
    pub async fn soft_writes_of_relays(&self) -> Result<Vec<SoftWrite>> {
        let mut tx = self.read("soft_writes_of_relays").await?;
        let writes = tx.soft_writes_of(Uuid::nil()).await?;
        tx.commit().await?;
        Ok(writes)
    }

    /// Drops what replicas that are long gone wrote, and what says only that there is nothing to say, from before the time
    /// `gone_before`.
    pub async fn forget_soft_writes(&self, gone_before: u64) -> Result<()> {
        let mut tx = self.write_long("forget_soft_writes").await?;
        tx.drop_soft_writes(GONE_KEPT_MS, gone_before).await?;
        tx.commit().await
    }

    /// The number of the last event of each of these parties; one that is not there is gone.
    pub async fn last_numbers(&self, parties: &[PartyId]) -> Result<Vec<(PartyId, u64)>> {
        let mut tx = self.read("last_numbers").await?;
        let numbers = tx.last_numbers(parties).await?;
        tx.commit().await?;
        Ok(numbers)
    }

    /// A party's events after number `since`, without secrets; none when the party is gone or the log does not reach so far.
    pub async fn events_after(&self, party: PartyId, since: u64) -> Result<Option<Vec<(u64, PartyEvent)>>> {
        let mut tx = self.read("events_after").await?;
        let there = tx.party(party).await?.is_some();
        let logged = tx.events_after(party, since).await?;
        tx.commit().await?;
        Ok(parse_all(logged, since).filter(|_| there))
    }

    /// Tells other replicas.
    pub async fn announce(&self, news: &[News]) -> Result<()> {
        let mut tx = self.write("announce").await?;
        for one in news {
            tx.announce(one).await?;
        }
        tx.commit().await
    }
}
