//! What `/proc/net` says of the default routes, and the clock that counts sleep.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::io::netwatch::Router;

/// Of a route in `/proc/net/route`: goes through a gateway (RTF_UP and RTF_GATEWAY of linux/route.h).
const THROUGH_GATEWAY: u32 = 0x3;
/// What an unanswered entry of `/proc/net/arp` has.
const NO_HARDWARE: &str = "00:00:00:00:00:00";

/// The routers of the IPv4 default routes. Empty while there is none.
pub fn routers() -> Vec<Router> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let routes = read("/proc/net/route");
    parse(&routes, || read("/proc/net/arp"))
}

/// Time since the PC started, sleep included; [`std::time::Instant`] stands still meanwhile.
pub fn uptime() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, to one that is ours.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let (seconds, rest) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (result == 0).then(|| Duration::new(seconds, rest))
}

fn parse(routes: &str, neighbours: impl Fn() -> String) -> Vec<Router> {
    let mut routers: Vec<Router> = routes.lines().filter_map(gateway).collect();
    if routers.is_empty() {
        return routers;
    }
    let neighbours = neighbours();
    let hardware: BTreeMap<(&str, &str), &str> = neighbours.lines().skip(1).filter_map(neighbour).collect();
    for router in &mut routers {
        let address = router.address.to_string();
        let known = hardware.get(&(router.interface.as_str(), address.as_str()));
        router.hardware = known.map(|hardware| (*hardware).to_owned());
    }
    routers
}

/// Interface, destination, gateway, flags, and so on; numbers in hexadecimal, addresses as the memory of this PC has them.
fn gateway(line: &str) -> Option<Router> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, gateway, flags, _, _, _, mask, ..] = fields.as_slice() else {
        return None;
    };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let is_default = number(destination)? == 0 && number(mask)? == 0;
    let leads = number(flags)? & THROUGH_GATEWAY == THROUGH_GATEWAY;
    (is_default && leads).then_some(Router {
        interface: (*interface).to_owned(),
        address: Ipv4Addr::from(number(gateway)?.to_ne_bytes()),
        hardware: None,
    })
}

/// Address, type, flags, hardware address, mask, interface.
fn neighbour(line: &str) -> Option<((&str, &str), &str)> {
    let mut fields = line.split_whitespace();
    let (address, hardware, interface) = (fields.next()?, fields.nth(2)?, fields.nth(1)?);
    (hardware != NO_HARDWARE).then_some(((interface, address), hardware))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";
    const NEIGHBOURS: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.1      0x1         0x2         02:00:00:00:00:01     *        eth0
192.168.2.1      0x1         0x0         00:00:00:00:00:00     *        wlan0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn routers_are_known_by_their_address_and_as_soon_as_they_answered_by_their_hardware() {
        let router = |interface: &str, address: [u8; 4], hardware: Option<&str>| Router {
            interface: interface.to_owned(),
            address: address.into(),
            hardware: hardware.map(str::to_owned),
        };
        assert_eq!(
            parse(ROUTES, || NEIGHBOURS.to_owned()),
            [
                router("eth0", [192, 168, 1, 1], Some("02:00:00:00:00:01")),
                router("wlan0", [192, 168, 2, 1], None),
            ]
        );
    }

    #[test]
    fn nonsense_is_no_router() {
        for text in ["", "eth0", "eth0 x y z 0 0 0 0", "a b c d e f g h i j k"] {
            assert_eq!(parse(text, || text.to_owned()), []);
        }
    }

    #[test]
    fn the_uptime_goes_on() {
        let first = uptime().unwrap();
        assert!(first > Duration::ZERO && uptime().unwrap() >= first);
    }
}
