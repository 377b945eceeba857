//! What is said of servers outside the party.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TrendReport;

/// Longest name of a server (RFC 1035).
const LONGEST: usize = 253;

/// A server outside the party: `play.example.net`, `play.example.net:25565`, `[2001:db8::1]:25565`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerAddress {
    pub host: String,
    /// For TCP, when the server answers no pings; none: 443.
    pub port: Option<u16>,
}

/// Not a server's name or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a name or address nor one with a port, such as play.example.net:25565")]
pub struct NotAServer(String);

impl FromStr for ServerAddress {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let wrong = || NotAServer(text.to_owned());
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self {
                host: ip.to_string(),
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (
                host,
                Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
            ),
            None => (text, None),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse::<IpAddr>().map_err(|_| wrong())?.to_string(),
            None => host.to_owned(),
        };
        let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let is_name = !host.is_empty() && host.len() <= LONGEST && host.chars().all(is_plain);
        if !is_name && host.parse::<IpAddr>().is_err() {
            return Err(wrong());
        }
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = NotAServer;

    fn try_from(text: String) -> Result<Self, NotAServer> {
        text.parse()
    }
}

impl From<ServerAddress> for String {
    fn from(server: ServerAddress) -> Self {
        server.to_string()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// `lanrage latency --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatenciesReport {
    pub servers: Vec<LatencyReport>,
}

/// How far a server outside the party is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    pub server: ServerAddress,
    /// Smoothed round-trip time; none before it answered.
    pub rtt_ms: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub loss_percent: Option<f64>,
    pub trend: Option<TrendReport>,
    /// How it was measured: `icmp` or `tcp`.
    pub measured_by: Option<String>,
    /// Seconds between two looks, as things are.
    pub interval_s: u64,
    /// Why it does not answer, in words.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_they_are_written() {
        for text in [
            "play.example.net",
            "play.example.net:25565",
            "192.0.2.1",
            "192.0.2.1:80",
            "2001:db8::1",
            "[2001:db8::1]:80",
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ":80",
            "a b",
            "host:0",
            "host:99999",
            "host:x",
            "[host]:1",
            "http://x/",
        ] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
