//! Soft state: what a member says about itself, as last heard.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::game::Playing;
use super::relay::RelaySeat;
use crate::names::is_plain;

/// What a member tells the party through the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Presence {
    pub nat: NatSummary,
    /// The relays it is connected to, its home relay first. The first [`MAX_SEATS`] are read.
    #[serde(default, deserialize_with = "few_seats")]
    pub relays: Vec<RelaySeat>,
    /// The agent's version.
    #[serde(default, deserialize_with = "short_text")]
    pub agent_version: String,
    /// What it plays, as far as its agent can tell.
    #[serde(
        default,
        deserialize_with = "what_is_understood",
        skip_serializing_if = "Option::is_none"
    )]
    pub game: Option<Box<Playing>>,
}

/// Most relays a member names: its home relay, a spare, and two it is moving from. A party of 254 stays within a message.
pub const MAX_SEATS: usize = 4;

fn few_seats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RelaySeat>, D::Error> {
    let mut seats = Vec::deserialize(deserializer)?;
    seats.truncate(MAX_SEATS);
    Ok(seats)
}

/// A game told in a way that this program does not know is none; the rest of what was said still counts.
fn what_is_understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Playing>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Game(Box<Playing>),
        Other(IgnoredAny),
    }
    Ok(match Told::deserialize(deserializer)? {
        Told::Game(playing) => Some(playing),
        Told::Other(_) => None,
    })
}

/// Most characters of a version.
const MAX_VERSION: usize = 64;

/// What others will keep and show: no longer than a version is, and printable.
fn short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.chars().filter(|c| is_plain(*c)).take(MAX_VERSION).collect())
}

/// What kind of NAT a member is behind, without its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NatSummary {
    pub mapping: Mapping,
    pub filtering: Filtering,
    /// The router opened a port on request (UPnP-IGD, NAT-PMP or PCP).
    #[serde(default)]
    pub port_mapping: bool,
}

/// How a NAT chooses the public address and port (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Not measured yet.
    #[default]
    Unknown,
    /// No NAT: the public address is the device's own.
    None,
    EndpointIndependent,
    AddressDependent,
    /// What people call symmetric.
    AddressAndPortDependent,
    /// No UDP gets through at all.
    Blocked,
    /// From a newer agent.
    #[serde(other)]
    Other,
}

/// Whose packets a NAT or firewall lets in (RFC 4787 §5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Not measured yet, or not measurable with the STUN servers at hand.
    #[default]
    Unknown,
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
    /// From a newer agent.
    #[serde(other)]
    Other,
}

impl Mapping {
    /// Whether one public address serves every destination, so that a peer can be told where to send.
    pub fn is_predictable(self) -> bool {
        matches!(self, Self::None | Self::EndpointIndependent)
    }
}

impl NatSummary {
    /// What players call it.
    pub fn common_name(&self) -> &'static str {
        match (self.mapping, self.filtering) {
            (Mapping::Unknown | Mapping::Other, _) => "not measured yet",
            (Mapping::Blocked, _) => "UDP blocked",
            (Mapping::None, Filtering::EndpointIndependent) => "open",
            (Mapping::None, _) => "open behind a firewall",
            (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => "symmetric",
            (Mapping::EndpointIndependent, Filtering::EndpointIndependent) => "full cone",
            (Mapping::EndpointIndependent, Filtering::AddressDependent) => "address-restricted",
            (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent) => "port-restricted",
            (Mapping::EndpointIndependent, Filtering::Unknown | Filtering::Other) => "cone",
        }
    }
}

macro_rules! kebab_display {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    };
}
kebab_display!(Mapping);
kebab_display!(Filtering);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_short_and_printable_whatever_was_sent() {
        let sent = serde_json::json!({
            "nat": {"mapping": "none", "filtering": "unknown"},
            "agent_version": format!("\u{301}1.\u{202E}0\u{1b}[2J\u{200B}{}", "x".repeat(100_000)),
        });
        let presence: Presence = serde_json::from_value(sent).unwrap();
        assert!(presence.agent_version.starts_with("1.0[2Jxx"));
        assert_eq!(presence.agent_version.len(), MAX_VERSION);
    }

    #[test]
    fn a_member_names_few_relays_whatever_was_sent() {
        let seats = serde_json::json!([{"relay": "fra-1", "rtt_ms": 20}, {"relay": "lon-1", "rtt_ms": 30}]);
        let many: Vec<_> = (0..100).map(|_| seats[0].clone()).collect();
        let read = |relays| {
            let sent = serde_json::json!({"nat": {"mapping": "none", "filtering": "unknown"}, "relays": relays});
            serde_json::from_value::<Presence>(sent).unwrap().relays
        };
        assert_eq!(read(seats).len(), 2);
        assert_eq!(read(many.into()).len(), MAX_SEATS);
    }

    #[test]
    fn a_game_is_optional_bounded_and_never_in_the_way() {
        let read = |game| {
            let sent = serde_json::json!({"nat": {"mapping": "none", "filtering": "unknown"}, "game": game});
            serde_json::from_value::<Presence>(sent).unwrap().game
        };
        let game = serde_json::json!({"id": "quake", "name": "Quake", "wording": "probably"});
        assert_eq!(read(game.clone()).unwrap().name.as_str(), "Quake");
        let mut strange = game;
        strange["wording"] = "of tomorrow".into();
        assert_eq!(read(strange), None);
        assert_eq!(
            read(serde_json::json!({"id": "q", "name": "x".repeat(65), "wording": "probably"})),
            None
        );
        assert_eq!(read(serde_json::Value::Null), None);
        assert!(!serde_json::to_string(&Presence::default()).unwrap().contains("game"));
    }

    #[test]
    fn names_are_the_terms_of_rfc_4787() {
        assert_eq!(Mapping::EndpointIndependent.to_string(), "endpoint-independent");
        assert_eq!(serde_json::to_string(&Mapping::None).unwrap(), "\"none\"");
        assert_eq!(
            serde_json::from_str::<Mapping>("\"of-tomorrow\"").unwrap(),
            Mapping::Other
        );
    }
}
