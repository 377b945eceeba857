//! Which networks this PC is on, and when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use getifaddrs::{Address, Interface, InterfaceFlags};
use ipnet::{IpNet, Ipv4Net};
use lanrage_agent_core::dataplane::OtherAdapter;
use n0_watcher::Watcher;
use netwatch::netmon::Monitor;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use crate::platform::routers;

/// How often the addresses are read even though the system announced no change: announcements can be lost, and are not to
/// be had everywhere.
const POLL: Duration = Duration::from_secs(5);
/// How often the routers are looked at: that another one has the address of the one before is announced by nobody. Two small
/// reads of what the system keeps in memory.
const LOOK: Duration = Duration::from_millis(500);

/// An address of one of this PC's interfaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The interface's name, as people know it.
    pub interface: String,
    pub address: IpAddr,
    /// Length of the network's prefix, in bits.
    pub prefix: u8,
    /// The interface's number.
    pub index: u32,
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

/// The adapters these addresses belong to, with the networks they are in.
pub fn adapters(addresses: &[LocalAddress]) -> Vec<OtherAdapter> {
    let mut adapters: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for local in addresses {
        if let Ok(net) = IpNet::new(local.address, local.prefix) {
            adapters.entry(local.index).or_default().push(net);
        }
    }
    let adapter = |(index, networks)| OtherAdapter { index, networks };
    adapters.into_iter().map(adapter).collect()
}

/// A router that this PC's packets leave through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    pub interface: String,
    pub address: Ipv4Addr,
    /// As the system writes it, once it knows.
    pub hardware: Option<String>,
}

/// The routers of the network this PC is on, by interface and address; none before they were looked at.
#[derive(Debug, Default)]
struct Routers(Option<BTreeMap<(String, Ipv4Addr), Option<String>>>);

impl Routers {
    /// Whether these are another network's than those seen before. Without any there is no network to be on; what is there
    /// when it comes back tells.
    fn handle_look(&mut self, seen: Vec<Router>) -> bool {
        let is_first = self.0.is_none();
        let known = self.0.get_or_insert_default();
        if seen.is_empty() {
            return false;
        }
        // A default route may be there twice, with different metrics.
        let mut places: BTreeMap<(String, Ipv4Addr), Option<String>> = BTreeMap::new();
        for router in seen {
            let hardware = places.entry((router.interface, router.address)).or_default();
            *hardware = hardware.take().or(router.hardware);
        }
        let (mut changed, mut now) = (false, BTreeMap::new());
        for (place, hardware) in places {
            let before = known.remove(&place);
            changed |= before.is_none();
            // The system forgets it and learns it again all the time.
            let before = before.flatten();
            changed |= before.is_some() && hardware.is_some() && before != hardware;
            now.insert(place, hardware.or(before));
        }
        changed |= !known.is_empty();
        *known = now;
        changed && !is_first
    }
}

/// Watches the networks.
#[derive(Debug)]
pub struct NetWatch {
    /// Changes whenever the addresses do, and also when the system says that routes changed.
    pub addresses: watch::Receiver<Vec<LocalAddress>>,
    /// Changes when this PC is behind other routers than before, whatever its addresses are.
    pub changes: watch::Receiver<()>,
}

impl NetWatch {
    /// Starts watching on the current runtime. Ends when nobody receives the addresses any more.
    pub fn start(own_tun: String) -> Self {
        let (addresses, known) = watch::channel(interfaces(&own_tun));
        let (moved, changes) = watch::channel(());
        tokio::spawn(watch_changes(own_tun, addresses, moved));
        Self {
            addresses: known,
            changes,
        }
    }
}

async fn watch_changes(own_tun: String, sender: watch::Sender<Vec<LocalAddress>>, moved: watch::Sender<()>) {
    let monitor = Monitor::new().await;
    let mut announced = match &monitor {
        Ok(monitor) => Some(monitor.interface_state()),
        Err(error) => {
            warn!(%error, "the system does not announce network changes; looking every {} s instead", POLL.as_secs());
            None
        }
    };
    let mut known_routers = Routers::default();
    let mut poll = tokio::time::interval(POLL);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
            _ = look.tick() => {
                if known_routers.handle_look(routers()) {
                    debug!("other routers than before");
                    moved.send_replace(());
                }
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
        index: interface.index.unwrap_or_default(),
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
            index: 2,
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
        assert_eq!(*watched.addresses.borrow(), interfaces("lanrage0"));
    }

    fn router(interface: &str, address: [u8; 4], hardware: Option<&str>) -> Router {
        Router {
            interface: interface.to_owned(),
            address: address.into(),
            hardware: hardware.map(str::to_owned),
        }
    }

    #[test]
    fn another_router_with_the_address_of_the_one_before_is_another_network() {
        let mut routers = Routers::default();
        let home = |hardware| vec![router("eth0", [192, 168, 1, 1], hardware)];
        assert!(!routers.handle_look(home(None)), "the first network is no change");
        assert!(!routers.handle_look(home(Some("02:00:00:00:00:01"))));
        assert!(!routers.handle_look(home(None)), "forgotten for a moment");
        assert!(!routers.handle_look(Vec::new()), "unplugged for a moment");
        assert!(!routers.handle_look(home(Some("02:00:00:00:00:01"))));
        assert!(routers.handle_look(home(Some("02:00:00:00:00:02"))));
        assert!(!routers.handle_look(home(Some("02:00:00:00:00:02"))));
    }

    #[test]
    fn a_router_that_comes_later_is_news() {
        let mut routers = Routers::default();
        assert!(!routers.handle_look(Vec::new()));
        assert!(routers.handle_look(vec![router("eth0", [192, 168, 1, 1], None)]));
    }

    #[test]
    fn another_gateway_or_one_more_or_less_is_another_network() {
        let mut routers = Routers::default();
        let (wire, radio) = (
            router("eth0", [192, 168, 1, 1], None),
            router("wlan0", [10, 0, 0, 1], None),
        );
        routers.handle_look(vec![wire.clone()]);
        assert!(routers.handle_look(vec![wire.clone(), radio.clone()]));
        assert!(!routers.handle_look(vec![radio.clone(), wire]));
        assert!(routers.handle_look(vec![radio]));
        assert!(routers.handle_look(vec![router("wlan0", [10, 0, 0, 2], None)]));
    }
}
