//! Why a broadcast or multicast packet was not bridged, counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a packet to everybody went to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Shorter than its headers say.
    Malformed,
    /// Not UDP: IGMP, MLD, neighbour discovery, router advertisements, ping.
    NotUdp,
    /// Not broadcast or multicast that leaves a PC.
    NotForAll,
    /// DHCP, LLMNR, NetBIOS names: what would break the members' own networks.
    NeverBridged,
    /// mDNS, SSDP or NetBIOS datagrams, which this PC did not opt in to.
    NotOptedIn,
    /// A port of no game known, and not allowed by hand.
    PortNotAllowed,
    /// The same as one that was bridged a moment ago.
    Duplicate,
    /// More than a member may send in this time.
    RateLimited,
    /// A fragment of a datagram whose beginning was not seen.
    OrphanFragment,
}

impl Rejection {
    /// As people understand it.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Malformed => "damaged",
            Self::NotUdp => "no UDP, so of no game",
            Self::NotForAll => "for somebody else",
            Self::NeverBridged => "of DHCP, LLMNR or NetBIOS names, which never pass",
            Self::NotOptedIn => "of printers, media servers and the like, which nobody opted in to",
            Self::PortNotAllowed => "to ports of no known game",
            Self::Duplicate => "sent more than once at a time",
            Self::RateLimited => "more than a member may send",
            Self::OrphanFragment => "pieces without a beginning",
        }
    }

    /// The one with this label.
    pub fn of_label(label: &str) -> Option<Self> {
        let all = [
            Self::Malformed,
            Self::NotUdp,
            Self::NotForAll,
            Self::NeverBridged,
            Self::NotOptedIn,
            Self::PortNotAllowed,
            Self::Duplicate,
            Self::RateLimited,
            Self::OrphanFragment,
        ];
        all.into_iter().find(|rejection| rejection.label() == label)
    }

    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotUdp => "not_udp",
            Self::NotForAll => "not_for_all",
            Self::NeverBridged => "never_bridged",
            Self::NotOptedIn => "not_opted_in",
            Self::PortNotAllowed => "port_not_allowed",
            Self::Duplicate => "duplicate",
            Self::RateLimited => "rate_limited",
            Self::OrphanFragment => "orphan_fragment",
        }
    }
}

/// What became of packets to everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of this PC, passed on to the members.
    pub sent: u64,
    /// Of members, given to this PC.
    pub received: u64,
    /// Of this PC, not passed on.
    pub not_sent: BTreeMap<Rejection, u64>,
    /// Of members, not given to this PC.
    pub not_received: BTreeMap<Rejection, u64>,
}
