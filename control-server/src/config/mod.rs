//! What the operator can say: defaults, then the TOML file, then the environment, then flags.

mod acme;
mod database;
mod limits;
mod log;
mod redis;
mod server;
mod services;
mod tracing;

use std::path::{Path, PathBuf};

pub use lanrage_relay::config::{LimitsSection as RelayLimits, LogFormat};
use serde::Deserialize;

pub use self::acme::AcmeConfig;
pub use self::database::{DatabaseConfig, DatabaseKind, DatabaseUrl};
pub use self::limits::{LimitsConfig, Rate, Within};
pub use self::log::LogConfig;
pub use self::redis::{NotRedis, RedisConfig, RedisUrl};
pub use self::server::ServerConfig;
pub use self::services::ServicesConfig;
pub use self::tracing::TracingConfig;

/// The example file, every setting at its default.
pub const EXAMPLE: &str = include_str!("../../../deploy/control.example.toml");

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub acme: AcmeConfig,
    pub services: ServicesConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub tracing: TracingConfig,
    /// What members may use of the relay in this process.
    pub relay_limits: RelayLimits,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {file}: {why}")]
    Unreadable { file: PathBuf, why: std::io::Error },
    #[error("{file}, line {line}: {message}")]
    Wrong {
        file: PathBuf,
        line: usize,
        message: String,
    },
}

impl Config {
    /// The defaults with what `file` says.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|why| ConfigError::Unreadable {
            file: file.to_owned(),
            why,
        })?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let setting = setting_in(&text, line).map_or_else(String::new, |name| format!("{name}: "));
            ConfigError::Wrong {
                file: file.to_owned(),
                line,
                message: format!("{setting}{}", one_sentence(error.message())),
            }
        })
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// The name of the setting in a line. What it is set to may be secret.
fn setting_in(text: &str, line: usize) -> Option<&str> {
    let (name, _) = text.lines().nth(line - 1)?.split_once('=')?;
    Some(name.trim()).filter(|name| !name.is_empty())
}

fn one_sentence(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        assert_eq!(toml::from_str::<Config>(EXAMPLE).unwrap(), Config::default());
        // Every setting that is off by default is shown in a comment that is valid too.
        let shown: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let config = toml::from_str::<Config>(&shown).unwrap();
        assert_eq!(config.services.stun.len(), 1);
        assert!(config.server.listen.is_some() && config.server.public_address.is_some());
        assert!(config.redis.url.is_some() && config.server.replica_name.is_some());
        assert!(config.tracing.otlp_endpoint.is_some());
        assert!(config.database.url.is_some() && config.services.relay_metrics_listen.is_some());
    }

    #[test]
    fn the_example_shows_every_setting() {
        // Every field is printed on a line of its own, as `name: value`.
        let printed = format!("{:#?}", Config::default());
        let mut settings = 0;
        for line in printed.lines() {
            let Some((name, value)) = line.trim().split_once(": ") else {
                continue;
            };
            let is_section = value.ends_with('{');
            let shown = ["\n", "\n#= "].map(|before| format!("{before}{name} = "));
            assert!(
                is_section || shown.iter().any(|shown| EXAMPLE.contains(shown)),
                "{name}"
            );
            settings += usize::from(!is_section);
        }
        assert!(settings > 30, "{settings}");
    }

    #[test]
    fn a_mistake_is_reported_with_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.toml");
        for (text, line) in [
            ("[server]\nlisten = \"0.0.0.0:1\"\nlisen = 3\n", "line 3"),
            ("[limits]\n\nconnections = \"many\"\n", "line 3: connections: "),
            ("[server\n", "line 1"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Config::read(&file).unwrap_err().to_string();
            assert!(error.contains("control.toml") && error.contains(line), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
