//! What a home's router does to its hosts' packets.

use std::fmt;
use std::str::FromStr;

/// One layer of address translation (or none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nat {
    /// No NAT: the LAN has public addresses and everybody may send to them.
    Open,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering.
    PortRestricted,
    /// Plain Linux masquerade: like port-restricted, but its mapping is endpoint-independent only while no two hosts use one
    /// source port.
    Linux,
    /// Another public port for every destination, address-and-port-dependent filtering.
    Symmetric,
    /// The same, with ports given out in a row.
    Sequential,
    /// TCP passes, UDP does not.
    UdpBlocked,
    /// Port-restricted towards the internet, and two hosts behind it reach each other by their public addresses.
    Hairpin,
}

impl Nat {
    /// Every kind, friendliest first.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Linux,
        Self::Hairpin,
        Self::Symmetric,
        Self::Sequential,
        Self::UdpBlocked,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::FullCone => "full-cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Linux => "linux",
            Self::Symmetric => "symmetric",
            Self::Sequential => "symmetric-sequential",
            Self::UdpBlocked => "udp-blocked",
            Self::Hairpin => "hairpin",
        }
    }
}

/// A kind of home.
///
/// Text: a NAT's name, `upnp` (a port-restricted router that opens ports on request), `upnp-symmetric`, `ipv6` (symmetric
/// for IPv4, with IPv6), or `cgnat:HOME:ISP` (the home's NAT behind its provider's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The home router's NAT.
    pub nat: Nat,
    /// The home router opens ports on request (UPnP-IGD, NAT-PMP, PCP).
    pub upnp: bool,
    /// The home has IPv6 behind a stateful firewall.
    pub ipv6: bool,
    /// The provider's NAT, when there is one.
    pub isp: Option<Nat>,
}

impl From<Nat> for Kind {
    fn from(nat: Nat) -> Self {
        Self {
            nat,
            upnp: false,
            ipv6: false,
            isp: None,
        }
    }
}

impl Kind {
    /// A home whose router opens ports on request.
    pub fn upnp(nat: Nat) -> Self {
        Self {
            upnp: true,
            ..nat.into()
        }
    }

    /// A home with IPv6 and, for IPv4, the least helpful NAT.
    pub fn ipv6() -> Self {
        Self {
            ipv6: true,
            ..Nat::Symmetric.into()
        }
    }

    /// A home behind its provider's NAT.
    pub fn cgnat(nat: Nat, isp: Nat) -> Self {
        Self {
            isp: Some(isp),
            ..nat.into()
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { isp: Some(isp), .. } => f.pad(&format!("cgnat:{}:{isp}", self.nat)),
            Self { ipv6: true, .. } => f.pad("ipv6"),
            Self { upnp: true, nat, .. } if *nat == Nat::PortRestricted => f.pad("upnp"),
            Self { upnp: true, nat, .. } => f.pad(&format!("upnp-{nat}")),
            Self { nat, .. } => f.pad(nat.name()),
        }
    }
}

/// A text that names no kind of home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a kind of home; there are", self.0)?;
        for nat in Nat::ALL {
            write!(f, " {nat},")?;
        }
        write!(f, " upnp, upnp-symmetric, ipv6 and cgnat:HOME:ISP")
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Nat {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|nat| nat.name() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        if let Some(layers) = text.strip_prefix("cgnat:") {
            let (home, isp) = layers.split_once(':').ok_or_else(|| UnknownKind(text.to_owned()))?;
            return Ok(Self::cgnat(home.parse()?, isp.parse()?));
        }
        match text {
            "upnp" => Ok(Self::upnp(Nat::PortRestricted)),
            "ipv6" => Ok(Self::ipv6()),
            _ => match text.strip_prefix("upnp-") {
                Some(nat) => Ok(Self::upnp(nat.parse()?)),
                None => text.parse::<Nat>().map(Self::from),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_text() {
        let mut kinds: Vec<Kind> = Nat::ALL.into_iter().map(Kind::from).collect();
        kinds.extend([
            Kind::upnp(Nat::PortRestricted),
            Kind::upnp(Nat::Symmetric),
            Kind::ipv6(),
        ]);
        kinds.push(Kind::cgnat(Nat::Linux, Nat::Symmetric));
        for kind in kinds {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_kind_lists_the_known_ones() {
        let refused = "coned".parse::<Kind>().unwrap_err().to_string();
        assert!(
            refused.contains("full-cone") && refused.contains("cgnat:HOME:ISP"),
            "{refused}"
        );
    }
}
