//! What the user wants bridged besides the games that are known.

use std::collections::BTreeSet;
use std::path::Path;

use lanrage_agent_core::broadcast::{PortSpan, Service};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::sealed::{self, Found};

const FILE: &str = "lan.json";
const FORMAT: &str = "lanrage lan 1";

/// What is bridged besides the ports of known games.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanSettings {
    /// Everything that never does harm.
    pub open: bool,
    pub ports: BTreeSet<PortSpan>,
    pub services: BTreeSet<Service>,
}

pub(super) fn save(dir: &Path, settings: &LanSettings) -> Result<(), StateError> {
    sealed::save(dir, FILE, FORMAT, settings)
}

/// What is kept; a damaged file is told of, and what goes without saying holds.
pub(super) fn load(dir: &Path, notices: &mut Vec<String>) -> Result<LanSettings, StateError> {
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
            "{} and its copy are damaged: what `lanrage lan` was told is forgotten; tell it again",
            dir.join(FILE).display()
        ));
    }
    Ok(LanSettings::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_and_damage_is_told_of() {
        let (dir, mut notices) = (tempfile::tempdir().unwrap(), Vec::new());
        assert_eq!(load(dir.path(), &mut notices).unwrap(), LanSettings::default());
        let settings = LanSettings {
            open: true,
            ports: ["4445".parse().unwrap()].into(),
            services: [Service::Mdns].into(),
        };
        save(dir.path(), &settings).unwrap();
        assert_eq!(load(dir.path(), &mut notices).unwrap(), settings);
        assert!(notices.is_empty());
        for place in sealed::places(dir.path(), FILE) {
            std::fs::write(place, "torn").unwrap();
        }
        assert_eq!(load(dir.path(), &mut notices).unwrap(), LanSettings::default());
        assert_eq!(notices.len(), 1);
    }
}
