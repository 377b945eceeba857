//! Parties this device has left whose server does not know it yet.

use std::path::Path;

use lanrage_shared::ids::PartyId;
use lanrage_shared::invite::ServerLink;
use serde::{Deserialize, Serialize};

use super::party::link_text;
use super::sealed::{self, Found};
use super::{PartyCache, StateError};

const FILE: &str = "farewells.json";
const FORMAT: &str = "lanrage farewells 1";

/// A server that has to be told that this device is no longer in a party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    #[serde(with = "link_text")]
    pub server: ServerLink,
    pub party: PartyId,
}

impl Farewell {
    /// To the party in the cache.
    pub fn of(cache: &PartyCache) -> Self {
        Self {
            server: cache.server.clone(),
            party: cache.party.id,
        }
    }
}

pub(super) fn save(dir: &Path, farewells: &[Farewell]) -> Result<(), StateError> {
    if farewells.is_empty() {
        return sealed::remove(dir, FILE);
    }
    sealed::save(dir, FILE, FORMAT, &farewells)
}

/// What is kept. A file that cannot be read is no reason not to start: a server notices an absent member in the end.
pub(super) fn load(dir: &Path) -> Result<Vec<Farewell>, StateError> {
    for place in sealed::places(dir, FILE) {
        if let Found::Good(farewells) = sealed::load(&place, FORMAT)? {
            return Ok(farewells);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::Pin;

    use super::*;

    #[test]
    fn farewells_are_kept_until_they_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let farewell = Farewell {
            server: ServerLink {
                host: "vps.example".into(),
                port: 8443,
                pin: Pin([1; 32]),
            },
            party: "00000000-0000-7000-8000-000000000001".parse().unwrap(),
        };
        assert_eq!(load(dir.path()).unwrap(), []);
        save(dir.path(), std::slice::from_ref(&farewell)).unwrap();
        std::fs::write(dir.path().join(FILE), "torn").unwrap();
        assert_eq!(load(dir.path()).unwrap(), [farewell]);
        save(dir.path(), &[]).unwrap();
        assert_eq!(load(dir.path()).unwrap(), []);
    }
}
