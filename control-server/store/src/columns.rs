//! From a database's columns to rows, once for every database.

use lanrage_shared::api::relay::Revocation;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::hlc::{ReplicaId, Stamp};
use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId, Pin};
use uuid::Uuid;

use crate::error::{Result, StoreError};
use crate::rows::{BanRow, InviteRow, PartyRow, SeatRow};
use crate::soft::{ReplicaRow, SoftKey, SoftWrite};

/// One row of a result, as its driver reads it. A column that is missing or of another type is
/// [`StoreError::Internal`].
pub trait Columns {
    fn integer(&self, column: &str) -> Result<i64>;
    fn optional_integer(&self, column: &str) -> Result<Option<i64>>;
    fn boolean(&self, column: &str) -> Result<bool>;
    fn text(&self, column: &str) -> Result<String>;
    fn bytes(&self, column: &str) -> Result<Vec<u8>>;
    fn uuid(&self, column: &str) -> Result<Uuid>;
}

/// A statement that selects what the readers below want of a table's rows, by name. `SELECT *` would do until a newer version adds
/// a column: then PostgreSQL refuses the statement on every connection that has prepared it.
#[macro_export]
macro_rules! select {
    (parties $rest:literal) => {
        concat!(
            "SELECT id, name, host, epoch, secret_epoch, version, seq, persistent, max_members, locked, net_index, created_at_ms \
             FROM parties ",
            $rest
        )
    };
    (seats $rest:literal) => {
        concat!(
            "SELECT number, device, identity_key, device_key, name, joined_at_ms, last_seen_ms, left_at_ms FROM seats ",
            $rest
        )
    };
    (invites $rest:literal) => {
        concat!(
            "SELECT id, party, auth_hash, sealed_secret, secret_epoch, expires_at_ms, max_uses, uses, created_at_ms FROM invites ",
            $rest
        )
    };
    (bans $rest:literal) => {
        concat!("SELECT device, identity_key, name, at_ms FROM bans ", $rest)
    };
    (sealed_secrets $rest:literal) => {
        concat!("SELECT epoch, from_member, from_key, to_member, sealed FROM sealed_secrets ", $rest)
    };
    (revocations $rest:literal) => {
        concat!("SELECT seq, party, epoch, removed FROM revocations ", $rest)
    };
    (soft_writes $rest:literal) => {
        concat!(
            "SELECT soft_writes.scope, soft_writes.field, soft_writes.replica, soft_writes.time, soft_writes.seen_time, \
             soft_writes.seen_replica, soft_writes.gone, soft_writes.value FROM soft_writes ",
            $rest
        )
    };
}

impl PartyRow {
    /// Reads a row of `parties`.
    pub fn read(row: &impl Columns) -> Result<Self> {
        Ok(Self {
            id: PartyId(row.uuid("id")?),
            name: parsed(row, "name")?,
            host: MemberId(number(row, "host")?),
            epoch: number(row, "epoch")?,
            secret_epoch: number(row, "secret_epoch")?,
            version: number(row, "version")?,
            seq: number(row, "seq")?,
            persistent: row.boolean("persistent")?,
            max_members: number(row, "max_members")?,
            locked: row.boolean("locked")?,
            net_index: number(row, "net_index")?,
            created_at_ms: number(row, "created_at_ms")?,
        })
    }
}

impl SeatRow {
    /// Reads a row of `seats`.
    pub fn read(row: &impl Columns) -> Result<Self> {
        let left_at = row.optional_integer("left_at_ms")?;
        Ok(Self {
            number: MemberId(number(row, "number")?),
            device: DeviceId(array(row, "device")?),
            identity_key: IdentityKey(array(row, "identity_key")?),
            device_key: DeviceKey(array(row, "device_key")?),
            name: parsed(row, "name")?,
            joined_at_ms: number(row, "joined_at_ms")?,
            last_seen_ms: number(row, "last_seen_ms")?,
            left_at_ms: left_at.map(|value| fitting(value, "left_at_ms")).transpose()?,
        })
    }
}

impl InviteRow {
    /// Reads a row of `invites`.
    pub fn read(row: &impl Columns) -> Result<Self> {
        let max_uses = row.optional_integer("max_uses")?;
        Ok(Self {
            id: row.uuid("id")?,
            party: PartyId(row.uuid("party")?),
            auth_hash: array(row, "auth_hash")?,
            sealed_secret: row.bytes("sealed_secret")?,
            secret_epoch: number(row, "secret_epoch")?,
            expires_at_ms: number(row, "expires_at_ms")?,
            max_uses: max_uses.map(|value| fitting(value, "max_uses")).transpose()?,
            uses: number(row, "uses")?,
            created_at_ms: number(row, "created_at_ms")?,
        })
    }
}

impl BanRow {
    /// Reads a row of `bans`.
    pub fn read(row: &impl Columns) -> Result<Self> {
        Ok(Self {
            device: DeviceId(array(row, "device")?),
            identity_key: IdentityKey(array(row, "identity_key")?),
            name: parsed(row, "name")?,
            at_ms: number(row, "at_ms")?,
        })
    }
}

/// Reads a row of `sealed_secrets`.
pub fn sealed_secret(row: &impl Columns) -> Result<SealedSecret> {
    Ok(SealedSecret {
        epoch: number(row, "epoch")?,
        from: MemberId(number(row, "from_member")?),
        from_key: DeviceKey(array(row, "from_key")?),
        to: MemberId(number(row, "to_member")?),
        sealed: row.text("sealed")?,
    })
}

/// Reads a row of `revocations`.
pub fn revocation(row: &impl Columns) -> Result<Revocation> {
    let removed = row.bytes("removed")?;
    let (keys, rest) = removed.as_chunks::<KEY_LEN>();
    if !rest.is_empty() {
        return Err(unexpected("removed"));
    }
    Ok(Revocation {
        seq: number(row, "seq")?,
        party: PartyId(row.uuid("party")?),
        epoch: number(row, "epoch")?,
        removed: keys.iter().map(|key| IdentityKey(*key)).collect(),
    })
}

/// Reads a row of `replicas`.
pub fn replica(row: &impl Columns) -> Result<ReplicaRow> {
    Ok(ReplicaRow {
        id: ReplicaId(number(row, "id")?),
        name: row.text("name")?,
        pin: Pin(array(row, "pin")?),
    })
}

/// Reads a row of `soft_writes`; none when its key is of a newer version.
pub fn soft_write(row: &impl Columns) -> Result<Option<SoftWrite>> {
    let Some(key) = SoftKey::read(row.uuid("scope")?, &row.text("field")?) else {
        return Ok(None);
    };
    let seen = match (
        row.optional_integer("seen_time")?,
        row.optional_integer("seen_replica")?,
    ) {
        (Some(time), Some(replica)) => Some(Stamp {
            time: fitting(time, "seen_time")?,
            replica: ReplicaId(fitting(replica, "seen_replica")?),
        }),
        _ => None,
    };
    let stamp = Stamp {
        time: number(row, "time")?,
        replica: ReplicaId(number(row, "replica")?),
    };
    Ok(Some(SoftWrite {
        key,
        stamp,
        seen,
        gone: row.boolean("gone")?,
        value: row.text("value")?,
    }))
}

/// Identity keys as `revocations` has them.
pub fn joined_keys(keys: &[IdentityKey]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.0).collect()
}

const KEY_LEN: usize = 32;

/// A number as databases keep it. No time or counter of ours reaches 2⁶³.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The integer of `column` in the range of its type.
pub fn number<T: TryFrom<i64>>(row: &impl Columns, column: &str) -> Result<T> {
    fitting(row.integer(column)?, column)
}

/// The bytes of `column` at their fixed length.
pub fn array<const N: usize>(row: &impl Columns, column: &str) -> Result<[u8; N]> {
    row.bytes(column)?.try_into().map_err(|_| unexpected(column))
}

fn parsed<T: std::str::FromStr>(row: &impl Columns, column: &str) -> Result<T> {
    row.text(column)?.parse().map_err(|_| unexpected(column))
}

/// `value`, read of `column`, in the range of its type.
pub fn fitting<T: TryFrom<i64>>(value: i64, column: &str) -> Result<T> {
    T::try_from(value).map_err(|_| unexpected(column))
}

fn unexpected(column: &str) -> StoreError {
    StoreError::Internal(format!("column {column} holds what it cannot"))
}
