//! Soft state as it is kept and passed between replicas: writes, each under its key, whose values the store does not look into.

use lanrage_shared::hlc::{ReplicaId, Stamp};
use lanrage_shared::ids::{MemberId, PartyId, Pin, RelayId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a soft write is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftKey {
    /// A member's presence.
    Member(PartyId, MemberId),
    /// A relay.
    Relay(RelayId),
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftWrite {
    pub key: SoftKey,
    pub stamp: Stamp,
    /// The last write of another replica to this key that the writer had seen.
    pub seen: Option<Stamp>,
    /// It only says that there is nothing to say any more.
    pub gone: bool,
    /// JSON.
    pub value: String,
}

/// A run of a server, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    pub id: ReplicaId,
    /// As its operator calls it.
    pub name: String,
    /// Of the key it shows.
    pub pin: Pin,
}

impl SoftKey {
    /// The columns `scope` and `field`.
    pub fn columns(&self) -> (Uuid, String) {
        match self {
            Self::Member(party, member) => (party.0, format!("member {member}")),
            Self::Relay(relay) => (Uuid::nil(), format!("relay {relay}")),
        }
    }

    /// From those columns; none for a key of a newer version.
    pub fn read(scope: Uuid, field: &str) -> Option<Self> {
        match field.split_once(' ')? {
            ("member", number) => number.parse().ok().map(|n| Self::Member(PartyId(scope), MemberId(n))),
            ("relay", name) => name.parse().ok().map(Self::Relay),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_an_unknown_one_is_none() {
        let party = PartyId(Uuid::from_u128(7));
        for key in [
            SoftKey::Member(party, MemberId(254)),
            SoftKey::Relay("fra-1".parse().unwrap()),
        ] {
            let (scope, field) = key.columns();
            assert_eq!(SoftKey::read(scope, &field), Some(key));
        }
        for field in ["", "member", "member x", "lobby 1"] {
            assert_eq!(SoftKey::read(party.0, field), None, "{field}");
        }
    }
}
