//! What NATs allow (RFC 5128 §3.3 and §3.5): which pairs must find a direct path.

use crate::lab::kind::{Kind, Nat};

/// What must become of two homes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Direct,
    /// Nothing but a relay leads from one to the other.
    Relayed,
    /// Direct by guessing ports, relayed until a guess comes true.
    Either,
}

impl Expected {
    /// Of two homes of these kinds.
    pub fn of(a: Kind, b: Kind) -> Self {
        if a.ipv6 && b.ipv6 {
            return Self::Direct;
        }
        let (a, b) = (reachability(a), reachability(b));
        match (a.min(b), a.max(b)) {
            (_, Reach::Blocked) | (Reach::Unpredictable, Reach::Unpredictable) => Self::Relayed,
            (Reach::KnownPort, Reach::Unpredictable) => Self::Either,
            _ => Self::Direct,
        }
    }
}

/// What an agent must say of a relayed pair of these kinds, among other words.
pub fn words(a: Kind, b: Kind) -> &'static str {
    match reachability(a).max(reachability(b)) {
        Reach::Blocked => "UDP",
        Reach::Unpredictable => "symmetric",
        _ => "same router or provider",
    }
}

/// How hard a home is to reach, easiest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// By anybody.
    Anybody,
    /// From an address it has sent to, by any port.
    KnownAddress,
    /// Only from where it has sent to; its own address is known.
    KnownPort,
    /// As before, and its own address depends on the destination.
    Unpredictable,
    /// Not by UDP.
    Blocked,
}

fn reachability(kind: Kind) -> Reach {
    let of = |nat| match nat {
        Nat::Open | Nat::FullCone => Reach::Anybody,
        Nat::AddressRestricted => Reach::KnownAddress,
        Nat::PortRestricted | Nat::Linux | Nat::Hairpin => Reach::KnownPort,
        Nat::Symmetric | Nat::Sequential => Reach::Unpredictable,
        Nat::UdpBlocked => Reach::Blocked,
    };
    let home = if kind.upnp { Reach::Anybody } else { of(kind.nat) };
    home.max(kind.isp.map_or(Reach::Anybody, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expectation_is_what_nats_allow() {
        use Expected::{Direct, Either, Relayed};
        let kind = |text: &str| text.parse::<Kind>().unwrap();
        for (a, b, expected) in [
            ("port-restricted", "port-restricted", Direct),
            ("symmetric", "address-restricted", Direct),
            ("upnp", "symmetric", Direct),
            ("symmetric", "port-restricted", Either),
            ("symmetric", "symmetric", Relayed),
            ("upnp-symmetric", "symmetric", Direct),
            ("ipv6", "ipv6", Direct),
            ("ipv6", "symmetric", Relayed),
            ("open", "udp-blocked", Relayed),
            ("cgnat:full-cone:port-restricted", "symmetric-sequential", Either),
        ] {
            assert_eq!(Expected::of(kind(a), kind(b)), expected, "{a} and {b}");
        }
    }
}
