//! What the user has set: what is bridged besides the games that are known, and which servers are watched.

use std::collections::BTreeSet;
use std::path::Path;

use lanrage_agent_core::broadcast::{PortSpan, Service};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::sealed::{self, Found};
use crate::api::ServerAddress;

const FILE: &str = "settings.json";
const FORMAT: &str = "lanrage settings 1";

/// Everything the user has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub lan: LanSettings,
    /// Servers outside the party whose latency is watched.
    pub servers: BTreeSet<ServerAddress>,
}

/// What is bridged besides the ports of known games.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanSettings {
    /// Everything that never does harm.
    pub open: bool,
    pub ports: BTreeSet<PortSpan>,
    pub services: BTreeSet<Service>,
}

pub(super) fn save(dir: &Path, settings: &Settings) -> Result<(), StateError> {
    sealed::save(dir, FILE, FORMAT, settings)
}

/// What is kept; a damaged file is told of, and what goes without saying holds.
pub(super) fn load(dir: &Path, notices: &mut Vec<String>) -> Result<Settings, StateError> {
    let mut damaged = false;
    for place in sealed::places(dir, FILE) {
        match sealed::load(&place, FORMAT)? {
            Found::Good(settings) => return Ok(settings),
            Found::Missing => {}
            _ => damaged = true,
        }
    }
    if damaged {
        notices.push(format!(
            "{} and its copy are damaged: what `lanrage lan` and `lanrage latency` were told is forgotten; tell it again",
            dir.join(FILE).display()
        ));
    }
    Ok(Settings::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_and_damage_is_told_of() {
        let (dir, mut notices) = (tempfile::tempdir().unwrap(), Vec::new());
        assert_eq!(load(dir.path(), &mut notices).unwrap(), Settings::default());
        let settings = Settings {
            lan: LanSettings {
                open: true,
                ports: ["4445".parse().unwrap()].into(),
                services: [Service::Mdns].into(),
            },
            servers: ["play.example.net:25565".parse().unwrap()].into(),
        };
        save(dir.path(), &settings).unwrap();
        assert_eq!(load(dir.path(), &mut notices).unwrap(), settings);
        assert!(notices.is_empty());
        for place in sealed::places(dir.path(), FILE) {
            std::fs::write(place, "torn").unwrap();
        }
        assert_eq!(load(dir.path(), &mut notices).unwrap(), Settings::default());
        assert_eq!(notices.len(), 1);
    }
}
