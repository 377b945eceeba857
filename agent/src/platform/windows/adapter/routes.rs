//! The routes that lead broadcasts and multicasts through our adapter.

use std::io;
use std::net::IpAddr;
use std::ptr::null;

use lanrage_agent_core::adapter::{Route, Wanted, Way};
use windows_sys::Win32::Foundation::ERROR_NOT_FOUND;
use windows_sys::Win32::NetworkManagement::IpHelper::{
    ConvertInterfaceLuidToAlias, CreateIpForwardEntry2, DeleteIpForwardEntry2, GetBestRoute2, GetIpForwardEntry2,
    InitializeIpForwardEntry, MIB_IPFORWARD_ROW2,
};
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, MIB_IPPROTO_NETMGMT, SOCKADDR_IN, SOCKADDR_IN6, SOCKADDR_INET,
};

use super::succeeded;

/// IF_MAX_STRING_SIZE and the closing zero.
const LONGEST_ALIAS: usize = 257;

/// How a route is set.
pub(super) fn look(wanted: &Wanted, route: Route, luid: NET_LUID_LH) -> Way {
    let mut ours = row(wanted, route, luid);
    // SAFETY: the row is ours to be written and names adapter, destination and next hop.
    if succeeded(unsafe { GetIpForwardEntry2(&raw mut ours) }).is_err() {
        return Way::Missing;
    }
    let (mut best, mut source) = (MIB_IPFORWARD_ROW2::default(), SOCKADDR_INET::default());
    let destination = inet(wanted.example(route));
    // SAFETY: no adapter and no source are prescribed; the destination is a whole address; the results are ours to be written.
    let code = unsafe {
        GetBestRoute2(
            null(),
            0,
            null(),
            &raw const destination,
            0,
            &raw mut best,
            &raw mut source,
        )
    };
    if succeeded(code).is_err() {
        return Way::Behind("no adapter: a rule forbids it".to_owned());
    }
    if value(best.InterfaceLuid) == value(luid) {
        Way::Ours
    } else {
        Way::Behind(alias(best.InterfaceLuid))
    }
}

/// Sets a route that is missing, and anew one that has a worse metric than it could.
pub(super) fn set(wanted: &Wanted, route: Route, luid: NET_LUID_LH) -> io::Result<()> {
    remove(wanted, route, luid)?;
    let ours = row(wanted, route, luid);
    // SAFETY: the row is a whole one.
    succeeded(unsafe { CreateIpForwardEntry2(&raw const ours) })
}

/// Takes a route out, if it is there.
pub(super) fn remove(wanted: &Wanted, route: Route, luid: NET_LUID_LH) -> io::Result<()> {
    let ours = row(wanted, route, luid);
    // SAFETY: the row is a whole one.
    match unsafe { DeleteIpForwardEntry2(&raw const ours) } {
        ERROR_NOT_FOUND => Ok(()),
        code => succeeded(code),
    }
}

fn row(wanted: &Wanted, route: Route, luid: NET_LUID_LH) -> MIB_IPFORWARD_ROW2 {
    let destination = wanted.destination(route);
    let mut row = MIB_IPFORWARD_ROW2::default();
    // SAFETY: the row is ours to be written.
    unsafe { InitializeIpForwardEntry(&raw mut row) };
    row.InterfaceLuid = luid;
    row.DestinationPrefix.Prefix = inet(destination.network());
    row.DestinationPrefix.PrefixLength = destination.prefix_len();
    // On the link: no next hop.
    row.NextHop = inet(match destination.network() {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    });
    // Added to the adapter's own.
    row.Metric = 0;
    row.Protocol = MIB_IPPROTO_NETMGMT;
    row
}

fn inet(address: IpAddr) -> SOCKADDR_INET {
    match address {
        IpAddr::V4(v4) => {
            let mut inner = SOCKADDR_IN {
                sin_family: AF_INET,
                ..SOCKADDR_IN::default()
            };
            inner.sin_addr.S_un.S_addr = u32::from_ne_bytes(v4.octets());
            SOCKADDR_INET { Ipv4: inner }
        }
        IpAddr::V6(v6) => {
            let mut inner = SOCKADDR_IN6 {
                sin6_family: AF_INET6,
                ..SOCKADDR_IN6::default()
            };
            inner.sin6_addr.u.Byte = v6.octets();
            SOCKADDR_INET { Ipv6: inner }
        }
    }
}

fn value(luid: NET_LUID_LH) -> u64 {
    // SAFETY: every bit pattern is a number.
    unsafe { luid.Value }
}

fn alias(luid: NET_LUID_LH) -> String {
    let mut room = [0_u16; LONGEST_ALIAS];
    // SAFETY: as much may be written as there is room for.
    let code = unsafe { ConvertInterfaceLuidToAlias(&raw const luid, room.as_mut_ptr(), room.len()) };
    let length = room.iter().position(|unit| *unit == 0).unwrap_or(room.len());
    match code {
        0 => String::from_utf16_lossy(&room[..length]),
        _ => "another adapter".to_owned(),
    }
}
