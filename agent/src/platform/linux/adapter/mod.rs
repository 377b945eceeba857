//! The virtual adapter's settings, by netlink: `ip` need not be there.
//!
//! [`Adapter::look`] reads, [`Adapter::repair`] sets one thing; what has to be how is decided in
//! [`lanrage_agent_core::adapter`]. Everything but the routes of IPv6 goes with the address, and all of it with the device.

mod changes;
mod link;
mod netlink;
mod routes;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use getifaddrs::Address;
use lanrage_agent_core::adapter::{Fault, Route, Seen, Wanted};
use netlink_packet_route::link::LinkFlags;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

pub use self::changes::announce_changes;
use self::netlink::Netlink;

/// The virtual adapter.
pub struct Adapter {
    name: String,
    index: u32,
    netlink: Netlink,
}

impl Adapter {
    /// The adapter of this name, which exists.
    pub fn open(name: &str) -> io::Result<Self> {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        Ok(Self {
            name: name.to_owned(),
            index: name_to_index(&any, name)?,
            netlink: Netlink::open()?,
        })
    }

    /// How everything that matters to a party is set. An error means that the adapter is gone.
    pub fn look(&mut self, wanted: &Wanted) -> io::Result<Seen> {
        let link = link::look(&mut self.netlink, self.index)?;
        let mut seen = Seen {
            is_up: link.flags.contains(LinkFlags::Up),
            multicast: link.flags.contains(LinkFlags::Multicast),
            mtu: link.mtu,
            addresses: self.addresses()?,
            takes_v6: self.takes_v6(),
            ..Seen::default()
        };
        for route in Route::ALL {
            if route.is_v6() && !seen.takes_v6 {
                continue;
            }
            let way = routes::look(&mut self.netlink, wanted, route, self.index)?;
            seen.routes.insert(route, way);
        }
        Ok(seen)
    }

    /// Repairs one fault. A missing address is the device's matter.
    pub fn repair(&mut self, wanted: &Wanted, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Down => link::set_flag(&mut self.netlink, self.index, LinkFlags::Up),
            Fault::NoMulticast => link::set_flag(&mut self.netlink, self.index, LinkFlags::Multicast),
            Fault::Mtu(_) => link::set_mtu(&mut self.netlink, self.index, wanted.mtu),
            Fault::Missing(route) | Fault::Behind(route, _) => {
                routes::set(&mut self.netlink, wanted, *route, self.index)
            }
            Fault::Address(_) | Fault::Metric | Fault::PublicNetwork => Ok(()),
        }
    }

    /// Takes the routes out that a party needed.
    pub fn clear(&mut self, wanted: &Wanted) -> io::Result<()> {
        for route in [Route::Broadcast, Route::Multicast, Route::Multicast6] {
            routes::remove(&mut self.netlink, wanted, route, self.index)?;
        }
        Ok(())
    }

    fn addresses(&self) -> io::Result<BTreeSet<IpAddr>> {
        let ours = getifaddrs::getifaddrs()?.filter(|interface| interface.name == self.name);
        let addresses = ours.filter_map(|interface| match interface.address {
            Address::V4(v4) => Some(IpAddr::V4(v4.address)),
            Address::V6(v6) => Some(IpAddr::V6(v6.address)),
            Address::Mac(_) => None,
        });
        Ok(addresses.collect())
    }

    /// Whether the PC has IPv6, and has not switched it off on this interface.
    fn takes_v6(&self) -> bool {
        let setting = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name);
        std::fs::read_to_string(setting).is_ok_and(|value| value.trim() == "0")
    }
}
