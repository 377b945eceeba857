//! How the virtual LAN's network adapter has to be set so that games find each other, and what of it is not so.
//!
//! A game looks for others by sending to 255.255.255.255, to its subnet's broadcast address or to a multicast group, and
//! names no adapter. The system then takes the first route that fits, so each of these addresses needs a route through our
//! adapter before that of any other ([`Route`]). Whoever looks at the adapter fills in [`Seen`]; [`Wanted::faults`] says what
//! to repair, in the order in which repairs work. [`Upkeep`] says when to look, and counts what had to be repaired.

mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lanrage_shared::addr::{FIRST_MEMBER, LAST_MEMBER, PartyNet};
use lanrage_shared::ids::MemberId;

pub use self::upkeep::{LastRepair, Upkeep};

/// The best metric an interface can have.
pub const BEST_METRIC: u32 = 1;

/// A group that games and UPnP search in (SSDP), and one of IPv6 that is not bound to a link: what the system does with
/// them, it does with every group.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc);

/// A route that has to lead through the adapter, in the order in which they are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// To the members.
    Subnet,
    /// To all members, by the subnet's last address.
    SubnetBroadcast,
    /// To everybody: 255.255.255.255.
    Broadcast,
    /// To every multicast group: 224.0.0.0/4.
    Multicast,
    /// To the members, IPv6.
    Subnet6,
    /// To every IPv6 multicast group: ff00::/8.
    Multicast6,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Subnet,
        Self::SubnetBroadcast,
        Self::Broadcast,
        Self::Multicast,
        Self::Subnet6,
        Self::Multicast6,
    ];

    /// As scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subnet => "route_subnet",
            Self::SubnetBroadcast => "route_subnet_broadcast",
            Self::Broadcast => "route_broadcast",
            Self::Multicast => "route_multicast",
            Self::Subnet6 => "route_subnet6",
            Self::Multicast6 => "route_multicast6",
        }
    }

    /// What it is for, in words.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Subnet => "what is sent to members",
            Self::SubnetBroadcast => "what is sent to the party's whole subnet",
            Self::Broadcast => "what is sent to everybody (255.255.255.255)",
            Self::Multicast => "what is sent to multicast groups (224.0.0.0/4)",
            Self::Subnet6 => "what is sent to members by IPv6",
            Self::Multicast6 => "what is sent to IPv6 multicast groups (ff00::/8)",
        }
    }

    /// Whether a PC without IPv6 goes without it.
    pub fn is_v6(self) -> bool {
        matches!(self, Self::Subnet6 | Self::Multicast6)
    }
}

/// What a party needs of the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub net: PartyNet,
    pub me: MemberId,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

impl Wanted {
    /// The adapter's IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        self.net.member_v4(self.me)
    }

    /// The adapter's IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        self.net.member_v6(self.me)
    }

    /// Where a route leads.
    pub fn destination(&self, route: Route) -> IpNet {
        match route {
            Route::Subnet => self.net.v4.into(),
            Route::SubnetBroadcast => Ipv4Net::from(self.net.v4.broadcast()).into(),
            Route::Broadcast => Ipv4Net::from(Ipv4Addr::BROADCAST).into(),
            Route::Multicast => Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4).into(),
            Route::Subnet6 => self.net.v6.into(),
            Route::Multicast6 => Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8).into(),
        }
    }

    /// An address to ask the system about, to learn which way it sends what this route is for.
    pub fn example(&self, route: Route) -> IpAddr {
        let other = MemberId(if self.me.0 == LAST_MEMBER {
            FIRST_MEMBER
        } else {
            LAST_MEMBER
        });
        match route {
            Route::Subnet => self.net.member_v4(other).into(),
            Route::SubnetBroadcast => self.net.v4.broadcast().into(),
            Route::Broadcast => Ipv4Addr::BROADCAST.into(),
            Route::Multicast => GROUP.into(),
            Route::Subnet6 => self.net.member_v6(other).into(),
            Route::Multicast6 => GROUP6.into(),
        }
    }

    /// What is not as it has to be, in the order in which it is repaired: a route needs an address, and an address an
    /// adapter that is up.
    pub fn faults(&self, seen: &Seen) -> Vec<Fault> {
        let mut faults = BTreeSet::new();
        if !seen.is_up {
            faults.insert(Fault::Down);
        }
        if seen.mtu != self.mtu {
            faults.insert(Fault::Mtu(seen.mtu));
        }
        if !seen.multicast {
            faults.insert(Fault::NoMulticast);
        }
        if seen.metric.is_some_and(|metric| metric != BEST_METRIC) {
            faults.insert(Fault::Metric);
        }
        if seen.is_public {
            faults.insert(Fault::PublicNetwork);
        }
        let wanted = [Some(IpAddr::V4(self.v4())), seen.takes_v6.then(|| self.v6().into())];
        for address in wanted.into_iter().flatten() {
            if !seen.addresses.contains(&address) {
                faults.insert(Fault::Address(address));
            }
        }
        for route in Route::ALL {
            if route.is_v6() && !seen.takes_v6 {
                continue;
            }
            match seen.routes.get(&route) {
                Some(Way::Ours) => {}
                Some(Way::Behind(other)) => drop(faults.insert(Fault::Behind(route, other.clone()))),
                Some(Way::Missing) | None => drop(faults.insert(Fault::Missing(route))),
            }
        }
        faults.into_iter().collect()
    }
}

/// How the adapter is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub is_up: bool,
    /// Programs may join groups on it.
    pub multicast: bool,
    /// Bytes.
    pub mtu: u32,
    pub addresses: BTreeSet<IpAddr>,
    /// The PC has IPv6 there.
    pub takes_v6: bool,
    pub routes: BTreeMap<Route, Way>,
    /// The interface's own metric, where the system has such a thing (Windows).
    pub metric: Option<u32>,
    /// The system takes the virtual LAN for a public place and shuts its firewall (Windows).
    pub is_public: bool,
}

/// How a route is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is there, and what it is for goes that way.
    Ours,
    /// It is there, but what it is for leaves by the interface named.
    Behind(String),
    Missing,
}

/// Something of the adapter that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Down,
    /// It has this one.
    Mtu(u32),
    NoMulticast,
    /// Other interfaces may be preferred to it.
    Metric,
    PublicNetwork,
    /// It is not the adapter's.
    Address(IpAddr),
    Missing(Route),
    /// The interface named gets what is meant for the virtual LAN.
    Behind(Route, String),
}

impl Fault {
    /// As scripts call it, without what differs from case to case.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Down => "adapter_down",
            Self::Mtu(_) => "mtu",
            Self::NoMulticast => "multicast_flag",
            Self::PublicNetwork => "network_category",
            Self::Address(_) => "address",
            Self::Missing(route) => route.name(),
            Self::Metric | Self::Behind(..) => "metric",
        }
    }
}

/// What is wrong, in words: a sentence without its full stop.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("the virtual adapter is switched off"),
            Self::Mtu(mtu) => write!(f, "the virtual adapter's MTU was changed to {mtu}"),
            Self::NoMulticast => f.write_str("the virtual adapter is set to take no multicast"),
            Self::Metric => f.write_str("the virtual adapter does not have the best metric"),
            Self::PublicNetwork => f.write_str("the system takes the virtual LAN for a public network"),
            Self::Address(address) => write!(f, "the virtual adapter lacks its address {address}"),
            Self::Missing(route) => write!(f, "the route for {} is missing", route.purpose()),
            Self::Behind(route, other) => write!(f, "{} goes out by {other}", route.purpose()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn wanted() -> Wanted {
        Wanted {
            net: PartyNet::at(3, "00000000-0000-0000-0000-000000000000".parse().unwrap()),
            me: MemberId(LAST_MEMBER),
            mtu: 1280,
        }
    }

    pub(super) fn right(wanted: &Wanted) -> Seen {
        Seen {
            is_up: true,
            multicast: true,
            mtu: 1280,
            addresses: [IpAddr::V4(wanted.v4()), IpAddr::V6(wanted.v6())].into(),
            takes_v6: true,
            routes: Route::ALL.into_iter().map(|route| (route, Way::Ours)).collect(),
            metric: Some(BEST_METRIC),
            is_public: false,
        }
    }

    #[test]
    fn an_adapter_that_is_right_has_no_faults() {
        assert_eq!(wanted().faults(&right(&wanted())), []);
    }

    #[test]
    fn faults_come_in_the_order_in_which_they_can_be_repaired() {
        let nothing = Seen {
            takes_v6: true,
            ..Seen::default()
        };
        let kinds: Vec<&str> = wanted().faults(&nothing).iter().map(Fault::kind).collect();
        assert_eq!(
            kinds,
            [
                "adapter_down",
                "mtu",
                "multicast_flag",
                "address",
                "address",
                "route_subnet",
                "route_subnet_broadcast",
                "route_broadcast",
                "route_multicast",
                "route_subnet6",
                "route_multicast6",
            ]
        );
    }

    #[test]
    fn a_pc_without_ipv6_misses_nothing_of_it() {
        let mut seen = right(&wanted());
        seen.takes_v6 = false;
        seen.addresses.remove(&wanted().v6().into());
        seen.routes.retain(|route, _| !route.is_v6());
        assert_eq!(wanted().faults(&seen), []);
    }

    #[test]
    fn a_route_behind_another_interfaces_is_a_matter_of_the_metric() {
        let mut seen = right(&wanted());
        seen.routes.insert(Route::Multicast, Way::Behind("wg0".to_owned()));
        let faults = wanted().faults(&seen);
        assert_eq!(faults, [Fault::Behind(Route::Multicast, "wg0".to_owned())]);
        assert_eq!(faults[0].kind(), "metric");
        assert!(faults[0].to_string().contains("wg0"));
    }

    #[test]
    fn a_public_network_and_a_worse_metric_are_faults_where_there_are_such_things() {
        let mut seen = right(&wanted());
        (seen.metric, seen.is_public) = (Some(25), true);
        assert_eq!(wanted().faults(&seen), [Fault::Metric, Fault::PublicNetwork]);
    }

    #[test]
    fn the_system_is_asked_about_addresses_of_the_route_that_are_not_this_pcs_own() {
        for route in Route::ALL {
            let (destination, example) = (wanted().destination(route), wanted().example(route));
            assert!(destination.contains(&example), "{route:?}");
            assert!(example != IpAddr::V4(wanted().v4()) && example != IpAddr::V6(wanted().v6()));
        }
    }
}
