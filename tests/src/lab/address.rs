//! The lab's address plan.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The segment's router: it knows the way to every public network, so that one default route does for everybody.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
/// The server's two addresses (a NAT's behaviour can only be told with two).
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The server's second address.
pub const SERVER_SECOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
/// Another public host: the stranger no home has spoken to.
pub const SERVER2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
/// The router's address on the segment's second network, see [`upnp_wan`].
pub const UPNP_ROUTER: Ipv4Addr = Ipv4Addr::new(45, 113, 203, 254);
/// The segment's router in IPv6.
pub const ROUTER6: Ipv6Addr = segment6(0xfe);
/// The server in IPv6.
pub const SERVER6: Ipv6Addr = segment6(0x10);
/// A provider's router towards the homes it puts behind its NAT.
pub const ISP_GATEWAY: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);

/// Most homes of one lab.
pub const MAX_HOMES: u8 = 99;
/// Most homes with public LANs: /28s of one /24.
pub const MAX_OPEN_HOMES: u8 = 16;
/// Most providers.
pub const MAX_ISPS: u8 = 60;

/// The public address of home `n` (from 1).
pub fn wan(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 100 + n)
}

/// The public address of a home whose router runs miniupnpd, which refuses to work on 203.0.113.0/24 because that range is
/// reserved for documentation. Nothing leaves the namespaces, so any other range does.
pub fn upnp_wan(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(45, 113, 203, 100 + n)
}

/// The public address of provider `n` (from 1).
pub fn isp_wan(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 30 + n)
}

/// The address provider NATs give home `n`.
pub fn behind_isp(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 1, n)
}

/// An address of home `n`'s LAN: 1 is the router, hosts follow from 10.
pub fn lan(n: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, n, last)
}

/// An address of the `n`th public LAN (from 0): 1 is the router, hosts follow from 2.
pub fn open_lan(n: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, n * 16 + last)
}

/// An address of home `n`'s IPv6 LAN (a /64): 1 is the router, hosts follow from 16.
pub fn lan6(n: u8, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, n as u16, 0, 0, 0, last)
}

/// Home `n`'s router on the segment.
pub fn wan6(n: u8) -> Ipv6Addr {
    segment6(0x100 + n as u16)
}

const fn segment6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0xff00, 0, 0, 0, last)
}
