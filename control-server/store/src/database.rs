//! What a database crate implements: transactions over single rows.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{DeviceId, IdentityKey, MemberId, PartyId};
use uuid::Uuid;

use crate::error::Result;
use crate::news::{Listener, News};
use crate::rows::{BanRow, InviteRow, PartyRow, SeatRow};
use crate::silence::PATIENCE;
use crate::soft::{ReplicaRow, SoftWrite};
use crate::store::Totals;

/// A database that is migrated and ready.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// What it is called in the log: "SQLite", "PostgreSQL".
    fn kind(&self) -> &'static str;
    /// A transaction that sees one moment and changes nothing.
    async fn read(&self) -> Result<Box<dyn Transaction>>;
    /// A transaction that may change rows. What [`Transaction::lock_party`] returns stays true until it ends.
    async fn write(&self) -> Result<Box<dyn Transaction>>;
    /// Writes all there is, as of one moment, into a file that is empty or not there. False when it has tools of its own for
    /// that.
    async fn back_up(&self, _file: &Path) -> Result<bool> {
        Ok(false)
    }
    /// Whether other servers may work on it, too.
    fn is_shared(&self) -> bool;
    /// The number of this run of the server: drawn when the database is opened, and never given out again.
    fn replica(&self) -> ReplicaId;
    /// Hears what is announced; none when it is not shared.
    async fn listen(&self) -> Result<Option<Box<dyn Listener>>>;
    /// How long it may answer nobody before it counts as away.
    fn patience(&self) -> Duration {
        PATIENCE
    }
    /// It has not answered for a while: whoever asks next does not wait for a connection that leads nowhere.
    fn start_anew(&self) {}
    /// Closes every connection.
    async fn close(&self);
}

/// One transaction. Dropped without [`Transaction::commit`], it has changed nothing.
#[async_trait]
pub trait Transaction: Overview + Removals + Replication + Send {
    /// Makes the changes lasting. An acknowledged change survives a crash of the machine.
    async fn commit(self: Box<Self>) -> Result<()>;

    /// A secret of the server itself.
    async fn secret(&mut self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Keeps a secret unless there is one of that name.
    async fn insert_secret(&mut self, name: &str, value: &[u8]) -> Result<()>;
    /// A number of the server itself.
    async fn counter(&mut self, name: &str) -> Result<Option<u64>>;
    /// Keeps such a number.
    async fn set_counter(&mut self, name: &str, value: u64) -> Result<()>;

    /// One party.
    async fn party(&mut self, id: PartyId) -> Result<Option<PartyRow>>;
    /// One party, with every other writer of it kept waiting until this transaction ends.
    async fn lock_party(&mut self, id: PartyId) -> Result<Option<PartyRow>>;
    /// Keeps whoever else locks this device waiting until this transaction ends: its parties have no row in common.
    async fn lock_device(&mut self, device: DeviceId) -> Result<()>;
    /// Parties that a device is a member of, by id.
    async fn parties_of(&mut self, device: DeviceId) -> Result<Vec<PartyId>>;
    /// Parties without members that are not persistent.
    async fn empty_parties(&mut self) -> Result<Vec<PartyId>>;
    /// Parties that are older than `before_ms` and that no device was in since then.
    async fn forgotten_parties(&mut self, before_ms: u64) -> Result<Vec<PartyId>>;
    /// A new party.
    async fn insert_party(&mut self, party: &PartyRow) -> Result<()>;
    /// Everything of a party that can change.
    async fn save_party(&mut self, party: &PartyRow) -> Result<()>;
    /// The party with its seats, invites, events, sealed secrets and bans.
    async fn delete_party(&mut self, id: PartyId) -> Result<()>;

    /// Every seat of a party, kept ones included, by number.
    async fn seats(&mut self, party: PartyId) -> Result<Vec<SeatRow>>;
    /// A new seat; [`crate::StoreError::Contended`] when its number or its device has one already.
    async fn insert_seat(&mut self, party: PartyId, seat: &SeatRow) -> Result<()>;
    /// Everything of a seat that can change; the number says which.
    async fn save_seat(&mut self, party: PartyId, seat: &SeatRow) -> Result<()>;
    /// Frees a number.
    async fn delete_seat(&mut self, party: PartyId, number: MemberId) -> Result<()>;
    /// Notes when members were connected, in one statement; how many there are.
    async fn mark_seen(&mut self, seen: &[(PartyId, MemberId, u64)]) -> Result<u64>;
    /// Members last seen before `before_ms`, except the hosts of persistent parties.
    async fn unseen_since(&mut self, before_ms: u64) -> Result<Vec<(PartyId, DeviceId)>>;

    /// Appends to a party's event log.
    async fn append_event(&mut self, party: PartyId, seq: u64, json: &str, at_ms: u64) -> Result<()>;
    /// Drops a party's events numbered up to and including `seq`.
    async fn drop_events(&mut self, party: PartyId, seq: u64) -> Result<()>;
    /// A party's events after number `seq`, in order.
    async fn events_after(&mut self, party: PartyId, seq: u64) -> Result<Vec<(u64, String)>>;

    /// Parties, and their hosts, whose host was last seen before `gone_ms`, while another member was since `present_ms`.
    async fn without_host(&mut self, gone_ms: u64, present_ms: u64) -> Result<Vec<(PartyId, MemberId)>>;
    /// A new invite; false when one with this hash exists.
    async fn insert_invite(&mut self, invite: &InviteRow) -> Result<bool>;
    /// The invite whose code hashes to this.
    async fn invite(&mut self, auth_hash: &[u8; 32]) -> Result<Option<InviteRow>>;
    /// A party's invites, oldest first.
    async fn invites(&mut self, party: PartyId) -> Result<Vec<InviteRow>>;
    /// Ends an invite; false when the party has none of this id.
    async fn delete_invite(&mut self, party: PartyId, id: Uuid) -> Result<bool>;
    /// Uses an invite once, in one conditional statement; false when it has expired or is used up.
    async fn use_invite(&mut self, id: Uuid, now_ms: u64) -> Result<bool>;
    /// How many invites a party has that have not expired.
    async fn count_invites(&mut self, party: PartyId, now_ms: u64) -> Result<u64>;
    /// Drops a party's invites that have expired, except the `kept` that expired last.
    async fn trim_invites(&mut self, party: PartyId, kept: u64, now_ms: u64) -> Result<()>;
    /// Drops invites that expired before `before_ms`; how many there were.
    async fn delete_invites_expired(&mut self, before_ms: u64) -> Result<u64>;
}

/// The part of a [`Transaction`] about all parties at once, for the operator.
#[async_trait]
pub trait Overview: Send {
    /// How much there is.
    async fn totals(&mut self) -> Result<Totals>;
    /// At most `limit` parties after `after`, by id.
    async fn parties_after(&mut self, after: Option<PartyId>, limit: u32) -> Result<Vec<PartyRow>>;
}

/// The part of a [`Transaction`] about who was removed, and what follows from that.
#[async_trait]
pub trait Removals: Send {
    /// Has an invite of this party lead to the secret of `epoch`; one that there is not, or that has ended, is left alone.
    async fn reseal_invite(
        &mut self,
        party: PartyId,
        auth_hash: &[u8; 32],
        sealed_secret: &[u8],
        epoch: u32,
    ) -> Result<()>;
    /// Ends the party's invites that lead to secrets from before `epoch`: they expire at `now_ms` at the latest and hold
    /// nothing.
    async fn end_invites(&mut self, party: PartyId, epoch: u32, now_ms: u64) -> Result<()>;

    /// Keeps a new secret for the member it is sealed to.
    async fn insert_secret_for(&mut self, party: PartyId, secret: &SealedSecret) -> Result<()>;
    /// Secrets kept for a member, oldest first.
    async fn secrets_for(&mut self, party: PartyId, member: MemberId) -> Result<Vec<SealedSecret>>;
    /// Drops a member's secrets up to and including those of `epoch`.
    async fn drop_secrets_for(&mut self, party: PartyId, member: MemberId, epoch: u32) -> Result<()>;
    /// Drops everybody's secrets up to and including those of `epoch`.
    async fn drop_secrets(&mut self, party: PartyId, epoch: u32) -> Result<()>;

    /// Notes which invite a member came by.
    async fn note_arrival(&mut self, party: PartyId, member: MemberId, invite: Uuid) -> Result<()>;
    /// The invite that a member came by; none when nobody noted it.
    async fn arrival(&mut self, party: PartyId, member: MemberId) -> Result<Option<Uuid>>;

    /// A new ban; one there is already stays as it is.
    async fn insert_ban(&mut self, party: PartyId, ban: &BanRow) -> Result<()>;
    /// A party's bans, oldest first.
    async fn bans(&mut self, party: PartyId) -> Result<Vec<BanRow>>;
    /// Lifts a ban; false when there is none.
    async fn delete_ban(&mut self, party: PartyId, device: DeviceId) -> Result<bool>;

    /// Appends to the revocations of the server. Whoever takes a number keeps others from taking one until this transaction
    /// ends, so that a reader who has seen a number has seen all below it.
    async fn append_revocation(
        &mut self,
        party: PartyId,
        epoch: u32,
        removed: &[IdentityKey],
        at_ms: u64,
    ) -> Result<()>;
    /// The number of the last revocation there was.
    async fn last_revocation(&mut self) -> Result<u64>;
    /// At most `limit` revocations after number `seq`, in order.
    async fn revocations_after(&mut self, seq: u64, limit: u32) -> Result<Vec<Revocation>>;
    /// Drops revocations from before `before_ms`.
    async fn drop_revocations(&mut self, before_ms: u64) -> Result<()>;
}

/// The part of a [`Transaction`] about several servers on one database, and about soft state.
#[async_trait]
pub trait Replication: Send {
    /// Tells every replica that listens, if and when this transaction commits. A database that is not shared tells nobody.
    async fn announce(&mut self, news: &News) -> Result<()>;

    /// Notes that a replica is there now, by the database's clock.
    async fn save_replica(&mut self, replica: &ReplicaRow) -> Result<()>;
    /// Forgets a name's replicas.
    async fn drop_replica(&mut self, name: &str) -> Result<()>;
    /// Replicas that were there within the last `lease_ms`, by number.
    async fn replicas(&mut self, lease_ms: u64) -> Result<Vec<ReplicaRow>>;

    /// Keeps each write in the place of its replica's former one to the same key, in one statement; how many were written.
    async fn save_soft_writes(&mut self, writes: &[SoftWrite]) -> Result<u64>;
    /// Writes of each of these replicas that are later than the time beside it.
    async fn soft_writes_after(&mut self, marks: &[(ReplicaId, u64)]) -> Result<Vec<SoftWrite>>;
    /// Every replica's writes in a scope.
    async fn soft_writes_of(&mut self, scope: Uuid) -> Result<Vec<SoftWrite>>;
    /// Drops replicas that were not there for `silent_ms`, the writes of replicas there are not, and writes from before the time
    /// `gone_before` that only say that there is nothing to say.
    async fn drop_soft_writes(&mut self, silent_ms: u64, gone_before: u64) -> Result<()>;

    /// The number of the last event of each of these parties that is there.
    async fn last_numbers(&mut self, parties: &[PartyId]) -> Result<Vec<(PartyId, u64)>>;
}
