//! The adapter itself: enabled, metric, MTU.

use std::io;

use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetIfEntry2, GetIpInterfaceEntry, InitializeIpInterfaceEntry, MIB_IF_ROW2, MIB_IPINTERFACE_ROW, SetIpInterfaceEntry,
};
use windows_sys::Win32::NetworkManagement::Ndis::{NET_IF_ADMIN_STATUS_UP, NET_LUID_LH};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

use super::succeeded;

/// What one family of addresses has to do with the adapter.
pub(super) struct Entry {
    /// None: Windows chooses it.
    pub metric: Option<u32>,
    pub mtu: u32,
}

/// Whether nobody switched the adapter off.
pub(super) fn is_enabled(luid: NET_LUID_LH) -> io::Result<bool> {
    let mut row = MIB_IF_ROW2 {
        InterfaceLuid: luid,
        ..MIB_IF_ROW2::default()
    };
    // SAFETY: the row is ours to be written and names the adapter.
    succeeded(unsafe { GetIfEntry2(&raw mut row) })?;
    Ok(row.AdminStatus == NET_IF_ADMIN_STATUS_UP)
}

/// How the adapter is set for a family. An error means that it has none of it.
pub(super) fn look(luid: NET_LUID_LH, v6: bool) -> io::Result<Entry> {
    let row = row(luid, v6)?;
    Ok(Entry {
        metric: (!row.UseAutomaticMetric).then_some(row.Metric),
        mtu: row.NlMtu,
    })
}

/// Sets metric and MTU for a family.
pub(super) fn set(luid: NET_LUID_LH, v6: bool, metric: u32, mtu: u32) -> io::Result<()> {
    let mut row = row(luid, v6)?;
    row.UseAutomaticMetric = false;
    row.Metric = metric;
    row.NlMtu = mtu;
    // What comes for a socket that is bound to another adapter's address is let in: games bind where they like.
    row.WeakHostReceive = true;
    // SetIpInterfaceEntry refuses what GetIpInterfaceEntry puts here for IPv4.
    row.SitePrefixLength = 0;
    // SAFETY: the row is a whole one that the system filled in.
    succeeded(unsafe { SetIpInterfaceEntry(&raw mut row) })
}

fn row(luid: NET_LUID_LH, v6: bool) -> io::Result<MIB_IPINTERFACE_ROW> {
    let mut row = MIB_IPINTERFACE_ROW::default();
    // SAFETY: the row is ours to be written.
    unsafe { InitializeIpInterfaceEntry(&raw mut row) };
    row.Family = if v6 { AF_INET6 } else { AF_INET };
    row.InterfaceLuid = luid;
    // SAFETY: the row is ours to be written and names adapter and family.
    succeeded(unsafe { GetIpInterfaceEntry(&raw mut row) })?;
    Ok(row)
}
