//! A party's virtual network: one IPv4 /24 and one IPv6 ULA /64, in which a member's number is the host part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{MemberId, PartyId};

/// Lowest member number; 0 is the network address.
pub const FIRST_MEMBER: u16 = 1;
/// Highest member number; 255 is the subnet's broadcast address.
pub const LAST_MEMBER: u16 = 254;

/// The /24s a party may get: 10.64.0.0 to 10.255.255.0. Private (games take it for a LAN), outside 100.64.0.0/10
/// (carrier NAT, Tailscale), and away from the low 10.x networks that routers hand out.
pub const PARTY_SUBNETS: u32 = (256 - 64) * 256;

/// A party's virtual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartyNet {
    /// A /24.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::Ipv4Network))]
    pub v4: Ipv4Net,
    /// A ULA /64 (RFC 4193).
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "fd12:3456:789a::/64"))]
    pub v6: Ipv6Net,
}

impl PartyNet {
    /// The network at `index` (taken modulo [`PARTY_SUBNETS`]), with the IPv6 prefix that follows from the party's id.
    pub fn at(index: u32, party: PartyId) -> Self {
        let digest = Sha256::new()
            .chain_update(b"lanrage ula v1")
            .chain_update(party.0.as_bytes())
            .finalize();
        let mut prefix = [0; 16];
        prefix[0] = 0xfd;
        prefix[1..6].copy_from_slice(&digest[..5]);
        Self {
            v4: Self::v4_at(index),
            v6: Ipv6Net::new_assert(Ipv6Addr::from(prefix), 64),
        }
    }

    /// Whether this is a network the party may have.
    pub fn is_of(&self, party: PartyId) -> bool {
        let offset = u32::from(self.v4.addr()).checked_sub(u32::from(Ipv4Addr::new(10, 64, 0, 0)));
        offset.is_some_and(|offset| offset / 256 < PARTY_SUBNETS && *self == Self::at(offset / 256, party))
    }

    /// Whether an address is in either of the two networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.v4.contains(&ip),
            IpAddr::V6(ip) => self.v6.contains(&ip),
        }
    }

    /// The IPv4 part of the network at `index`.
    pub fn v4_at(index: u32) -> Ipv4Net {
        let base = u32::from(Ipv4Addr::new(10, 64, 0, 0)) + index % PARTY_SUBNETS * 256;
        Ipv4Net::new_assert(Ipv4Addr::from(base), 24)
    }

    /// The virtual IPv4 address of a member.
    pub fn member_v4(&self, member: MemberId) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.v4.network()) | u32::from(member.0 & 0xff))
    }

    /// The virtual IPv6 address of a member.
    pub fn member_v6(&self, member: MemberId) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.v6.network()) | u128::from(member.0))
    }

    /// The member that owns a virtual address, if the address belongs to this network and may be a member's.
    pub fn member_at(&self, address: IpAddr) -> Option<MemberId> {
        let host = match address {
            IpAddr::V4(v4) if self.v4.contains(&v4) => u32::from(v4) & 0xff,
            IpAddr::V6(v6) if self.v6.contains(&v6) => u32::try_from(u128::from(v6) & u128::from(u64::MAX)).ok()?,
            _ => return None,
        };
        let host = u16::try_from(host).ok()?;
        (FIRST_MEMBER..=LAST_MEMBER).contains(&host).then_some(MemberId(host))
    }
}

/// Whether any address is in both networks.
pub fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// Own networks with a shorter prefix than this are avoided where that is possible, and are in nobody's way where it is not:
/// the party's /24 is the more specific route, and hides only one in 256 or fewer of such a network's addresses. Who has
/// 10.0.0.0/8 at home or by a VPN could not be in any party otherwise.
const SHORTEST_IN_THE_WAY: u8 = 16;

/// The first of somebody's own networks that a party's subnet would hide too much of.
pub fn in_the_way<'a>(subnet: &Ipv4Net, lans: &'a [Ipv4Net]) -> Option<&'a Ipv4Net> {
    lans.iter()
        .find(|lan| lan.prefix_len() >= SHORTEST_IN_THE_WAY && overlap(subnet, lan))
}

/// Whether an address can be another host's, as seen from here: not loopback, link-local, multicast, broadcast or none.
pub fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_link_local()
        }
        IpAddr::V6(ip) => {
            !ip.is_loopback()
                && !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                && ip.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    proptest! {
        #[test]
        fn members_and_addresses_are_one_to_one(index: u32, party: u128, member in FIRST_MEMBER..=LAST_MEMBER) {
            let net = PartyNet::at(index, PartyId(Uuid::from_u128(party)));
            let member = MemberId(member);
            prop_assert_eq!(net.member_at(net.member_v4(member).into()), Some(member));
            prop_assert_eq!(net.member_at(net.member_v6(member).into()), Some(member));
        }

        #[test]
        fn party_networks_stay_private_and_out_of_carrier_space(index: u32) {
            let net = PartyNet::at(index, PartyId(Uuid::nil()));
            prop_assert!(net.v4.network().is_private());
            prop_assert!(net.v6.network().is_unique_local());
            prop_assert!(!Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10).contains(&net.v4));
        }
    }

    #[test]
    fn broadcast_and_network_addresses_belong_to_nobody() {
        let net = PartyNet::at(0, PartyId(Uuid::nil()));
        assert_eq!(net.member_at("10.64.0.0".parse().unwrap()), None);
        assert_eq!(net.member_at("10.64.0.255".parse().unwrap()), None);
        assert_eq!(net.member_at("10.64.1.1".parse().unwrap()), None);
    }
}
