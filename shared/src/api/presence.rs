//! Soft state: what a member says about itself, as last heard.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::relay::RelaySeat;

/// What a member tells the party through the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    pub nat: NatSummary,
    /// The relays it is connected to, its home relay first.
    #[serde(default)]
    pub relays: Vec<RelaySeat>,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
}

/// What kind of NAT a member is behind, without its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatSummary {
    pub mapping: Mapping,
    pub filtering: Filtering,
    /// The router opened a port on request (UPnP-IGD, NAT-PMP or PCP).
    #[serde(default)]
    pub port_mapping: bool,
}

/// How a NAT chooses the public address and port (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    fn names_are_the_terms_of_rfc_4787() {
        assert_eq!(Mapping::EndpointIndependent.to_string(), "endpoint-independent");
        assert_eq!(serde_json::to_string(&Mapping::None).unwrap(), "\"none\"");
        assert_eq!(
            serde_json::from_str::<Mapping>("\"of-tomorrow\"").unwrap(),
            Mapping::Other
        );
    }
}
