//! Which networks this PC is on, and when that changes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use getifaddrs::{Address, Interface, InterfaceFlags};
use ipnet::{IpNet, Ipv4Net};
use n0_watcher::Watcher;
use netwatch::netmon::Monitor;
use tokio::sync::watch;
use tracing::{debug, warn};

/// How often the addresses are read even though the system announced no change: announcements can be lost, and are not to
/// be had everywhere.
const POLL: Duration = Duration::from_secs(5);

/// An address of one of this PC's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The interface's name, as people know it.
    pub interface: String,
    pub address: IpAddr,
    /// Length of the network's prefix, in bits.
    pub prefix: u8,
}

/// The addresses of all interfaces that are up, without loopback and without our own TUN device. Sorted.
pub fn interfaces(own_tun: &str) -> Vec<LocalAddress> {
    let listed = match getifaddrs::getifaddrs() {
        Ok(listed) => listed,
        Err(error) => {
            warn!(%error, "cannot read this PC's network interfaces");
            return Vec::new();
        }
    };
    let found: BTreeSet<LocalAddress> = listed
        .filter(|interface| {
            interface.flags.contains(InterfaceFlags::UP) && !interface.flags.contains(InterfaceFlags::LOOPBACK)
        })
        .filter_map(local_address)
        .filter(|local| local.interface != own_tun && is_usable(local.address))
        .collect();
    found.into_iter().collect()
}

/// The IPv4 networks among `addresses`, for choosing a virtual network that overlaps none. A /32 names no network.
pub fn lans(addresses: &[LocalAddress]) -> Vec<Ipv4Net> {
    let nets: BTreeSet<Ipv4Net> = addresses
        .iter()
        .filter_map(|local| match IpNet::new(local.address, local.prefix) {
            Ok(IpNet::V4(net)) if net.prefix_len() < 32 => Some(net.trunc()),
            _ => None,
        })
        .collect();
    nets.into_iter().collect()
}

/// Watches the interfaces.
#[derive(Debug)]
pub struct NetWatch;

impl NetWatch {
    /// Starts watching on the current runtime. The receiver changes whenever the addresses do, and also when the system
    /// says that routes changed: the same address behind another router is another network. Ends when no receiver is left.
    pub fn start(own_tun: String) -> watch::Receiver<Vec<LocalAddress>> {
        let (sender, receiver) = watch::channel(interfaces(&own_tun));
        tokio::spawn(watch_changes(own_tun, sender));
        receiver
    }
}

async fn watch_changes(own_tun: String, sender: watch::Sender<Vec<LocalAddress>>) {
    let monitor = Monitor::new().await;
    let mut announced = match &monitor {
        Ok(monitor) => Some(monitor.interface_state()),
        Err(error) => {
            warn!(%error, "the system does not announce network changes; looking every {} s instead", POLL.as_secs());
            None
        }
    };
    let mut poll = tokio::time::interval(POLL);
    loop {
        let route_change = async {
            match announced.as_mut() {
                Some(state) => state.updated().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let alive = tokio::select! {
            () = sender.closed() => return,
            alive = route_change => {
                debug!("the system announced a network change");
                sender.send_replace(interfaces(&own_tun));
                alive
            }
            _ = poll.tick() => {
                let now = interfaces(&own_tun);
                sender.send_if_modified(|known| {
                    let changed = *known != now;
                    if changed {
                        *known = now;
                    }
                    changed
                });
                true
            }
        };
        if !alive {
            announced = None;
        }
    }
}

fn local_address(interface: Interface) -> Option<LocalAddress> {
    let (address, mask) = match interface.address {
        Address::V4(v4) => (IpAddr::V4(v4.address), v4.netmask.map(IpAddr::V4)),
        Address::V6(v6) => (IpAddr::V6(v6.address), v6.netmask.map(IpAddr::V6)),
        Address::Mac(_) => return None,
    };
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Some(LocalAddress {
        #[cfg(target_os = "windows")]
        interface: interface.description,
        #[cfg(not(target_os = "windows"))]
        interface: interface.name,
        address,
        prefix: mask
            .and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok())
            .unwrap_or(whole),
    })
}

fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(address: &str, prefix: u8) -> LocalAddress {
        LocalAddress {
            interface: "eth0".to_owned(),
            address: address.parse().unwrap(),
            prefix,
        }
    }

    #[test]
    fn lans_are_the_ipv4_networks_without_repetition() {
        let addresses = [
            local("192.168.1.7", 24),
            local("192.168.1.8", 24),
            local("10.9.8.7", 32),
            local("203.0.113.5", 29),
            local("fd00::1", 64),
        ];
        assert_eq!(
            lans(&addresses),
            ["192.168.1.0/24".parse().unwrap(), "203.0.113.0/29".parse().unwrap()]
        );
    }

    #[test]
    fn neither_loopback_nor_the_own_device_is_listed() {
        let all = interfaces("");
        assert!(all.iter().all(|local| !local.address.is_loopback()));
        if let Some(first) = all.first() {
            assert!(
                interfaces(&first.interface)
                    .iter()
                    .all(|local| local.interface != first.interface)
            );
        }
    }

    #[tokio::test]
    async fn watching_starts_with_what_is_there() {
        let watched = NetWatch::start("lanrage0".to_owned());
        assert_eq!(*watched.borrow(), interfaces("lanrage0"));
    }
}
