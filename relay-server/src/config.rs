//! The relay's settings: defaults, then the file, then environment and flags (which `clap` merges).

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use lanrage_relay_core::relay::Limits;
use serde::Deserialize;

use crate::stun::StunConfig;

/// The example configuration, as shipped.
pub const EXAMPLE: &str = include_str!("../../deploy/relay.example.toml");
/// UDP and TCP port of the relay: what a network that blocks much still lets out.
pub const DEFAULT_PORT: u16 = 443;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// What to log: error, warn, info (the default), debug or trace, also per module.
    pub log: String,
    /// How log lines look: text (the default) or json.
    pub log_format: LogFormat,
    /// Passing on packets. Without a control server only STUN is served.
    pub relay: RelaySection,
    /// What members may use.
    pub limits: LimitsSection,
    /// The STUN service.
    pub stun: StunConfig,
    /// Numbers for Prometheus.
    pub metrics: MetricsSection,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Passing on packets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelaySection {
    /// Link of the control server this relay belongs to, as `lanrage-control link` prints it. None by default.
    pub control: Option<String>,
    /// File with the register token of the control server.
    pub register_token_file: Option<PathBuf>,
    /// The relay's name among those of its control server: 1 to 32 of a-z, 0-9 and -.
    pub name: Option<String>,
    /// Where it is, as people call it: `eu-west`.
    pub region: Option<String>,
    /// Under which name or address, and port, members reach it; the port is by default the one it listens on.
    pub public_address: Option<String>,
    /// IP addresses to listen on. Empty (the default) means every address of this machine.
    pub listen_addresses: Vec<IpAddr>,
    /// UDP and TCP port. Default 443. 0 takes a free one.
    pub port: u16,
    /// Where the relay's key and what it knows of revocations are kept. Default /var/lib/lanrage-relay.
    pub data_dir: PathBuf,
}

/// What members may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Members connected at once. Default 10,000.
    pub sessions: u32,
    /// Packets one member may send in a second. Default 20,000.
    pub member_packets_per_s: u32,
    /// Mbit/s one member may send. Default 100.
    pub member_mbit_per_s: u32,
    /// Mbit/s the relay sends in all: the rate of the machine's uplink. Default 1,000.
    pub egress_mbit_per_s: u32,
}

/// Numbers for Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSection {
    /// Address and TCP port of `/metrics`. None by default. Anybody who reaches it can read it: keep it on loopback.
    pub listen: Option<SocketAddr>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            relay: RelaySection::default(),
            limits: LimitsSection::default(),
            stun: StunConfig::default(),
            metrics: MetricsSection::default(),
        }
    }
}

impl Default for RelaySection {
    fn default() -> Self {
        Self {
            control: None,
            register_token_file: None,
            name: None,
            region: None,
            public_address: None,
            listen_addresses: Vec::new(),
            port: DEFAULT_PORT,
            data_dir: PathBuf::from("/var/lib/lanrage-relay"),
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        let Limits {
            sessions,
            member_frames_per_s,
            member_bytes_per_s,
            egress_bytes_per_s,
        } = Limits::default();
        Self {
            sessions,
            member_packets_per_s: member_frames_per_s,
            member_mbit_per_s: mbit(member_bytes_per_s),
            egress_mbit_per_s: mbit(egress_bytes_per_s),
        }
    }
}

impl From<&LimitsSection> for Limits {
    fn from(section: &LimitsSection) -> Self {
        Self {
            sessions: section.sessions,
            member_frames_per_s: section.member_packets_per_s,
            member_bytes_per_s: u64::from(section.member_mbit_per_s) * BYTES_PER_MBIT,
            egress_bytes_per_s: u64::from(section.egress_mbit_per_s) * BYTES_PER_MBIT,
        }
    }
}

const BYTES_PER_MBIT: u64 = 1_000_000 / 8;

fn mbit(bytes_per_s: u64) -> u32 {
    u32::try_from(bytes_per_s / BYTES_PER_MBIT).unwrap_or(u32::MAX)
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
        let limits = Limits::from(&RelayConfig::default().limits);
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn the_examples_other_settings_are_settings() {
        let config = RelayConfig::from_toml(&EXAMPLE.replace("#= ", "")).unwrap();
        assert!(
            config
                .relay
                .control
                .unwrap()
                .parse::<lanrage_shared::invite::ServerLink>()
                .is_ok()
        );
        assert!(config.relay.name.is_some() && config.relay.region.is_some() && config.relay.public_address.is_some());
        assert!(config.relay.register_token_file.is_some() && config.metrics.listen.is_some());
    }

    #[test]
    fn every_setting_can_be_changed_in_the_file() {
        let text = "log = \"debug\"\n[stun]\nlisten_addresses = [\"::1\"]\nport = 1\nsecond_port = 2\n";
        let config = RelayConfig::from_toml(text).unwrap();
        assert_eq!(config.log, "debug");
        assert_eq!(config.stun.listen_addresses, ["::1".parse::<IpAddr>().unwrap()]);
        assert_eq!((config.stun.port, config.stun.second_port), (1, 2));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let error = RelayConfig::from_toml("[stun]\nprot = 3478\n").unwrap_err();
        assert!(error.contains("prot") && error.contains("line 2"), "{error}");
    }
}
