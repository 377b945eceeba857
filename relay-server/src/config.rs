//! The relay's settings: defaults, then the file, then environment and flags (which `clap` merges).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::stun::StunConfig;

/// The example configuration, as shipped.
pub const EXAMPLE: &str = include_str!("../../deploy/relay.example.toml");

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// What to log: error, warn, info (the default), debug or trace, also per module.
    pub log: String,
    /// The STUN service.
    pub stun: StunConfig,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            stun: StunConfig::default(),
        }
    }
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {} cannot be read ({error}); check the path given with --config", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("the configuration file {} has a mistake: {message}; correct it or start without --config", path.display())]
    Parse { path: PathBuf, message: String },
}

impl RelayConfig {
    /// Reads a TOML file; what it does not name keeps its default.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::from_toml(&text).map_err(|message| ConfigError::Parse {
            path: path.to_owned(),
            message,
        })
    }

    /// Reads TOML text. The error is one line in words.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
            format!("{}{place}", error.message().replace('\n', " "))
        })
    }
}

/// A UDP port from the command line or the environment; 0 takes a free one.
pub fn udp_port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "it is not a UDP port from 0 to 65535 (0 takes a free one)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        assert_eq!(RelayConfig::from_toml(EXAMPLE), Ok(RelayConfig::default()));
    }

    #[test]
    fn every_setting_can_be_changed_in_the_file() {
        let text = "log = \"debug\"\n[stun]\nlisten_addresses = [\"::1\"]\nport = 1\nsecond_port = 2\n";
        let config = RelayConfig::from_toml(text).unwrap();
        assert_eq!(config.log, "debug");
        assert_eq!(
            config.stun.listen_addresses,
            ["::1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!((config.stun.port, config.stun.second_port), (1, 2));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = RelayConfig::from_toml("[stun]\nprot = 3478\n").unwrap_err();
        assert!(error.contains("prot") && error.contains("line 2"), "{error}");
    }
}
