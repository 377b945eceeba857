//! What NATs allow (RFC 5128 §3.3): which pairs must find a direct path.

use crate::lab::kind::{Kind, Nat};

/// Whether two homes of these kinds must find a direct path.
pub fn expect_direct(a: Kind, b: Kind) -> bool {
    if a.ipv6 && b.ipv6 {
        return true;
    }
    let (a, b) = (reachability(a), reachability(b));
    match (a.min(b), a.max(b)) {
        (_, Reach::Blocked) => false,
        (friendlier, Reach::Unpredictable) => friendlier <= Reach::KnownAddress,
        _ => true,
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
        Nat::Symmetric => Reach::Unpredictable,
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
        let kind = |text: &str| text.parse::<Kind>().unwrap();
        let direct = |a: &str, b: &str| expect_direct(kind(a), kind(b));
        assert!(direct("port-restricted", "port-restricted"));
        assert!(direct("symmetric", "address-restricted") && direct("upnp", "symmetric"));
        assert!(!direct("symmetric", "port-restricted") && !direct("symmetric", "symmetric"));
        assert!(direct("upnp-symmetric", "symmetric"));
        assert!(direct("ipv6", "ipv6") && !direct("ipv6", "symmetric"));
        assert!(!direct("open", "udp-blocked"));
        assert!(!direct("cgnat:full-cone:port-restricted", "symmetric"));
    }
}
