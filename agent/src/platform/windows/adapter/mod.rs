//! The virtual adapter's settings, by the IP Helper API.
//!
//! Windows makes the routes for broadcasts and multicasts itself, on every adapter, and sends by the adapter with the least
//! metric. Left to itself it takes the fastest one's; ours gets the best there is. The same names as on Linux.

mod category;
mod changes;
mod interface;
mod routes;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::process::Command;

use getifaddrs::Address;
use lanrage_agent_core::adapter::{BEST_METRIC, Fault, Route, Seen, Wanted};
use windows_sys::Win32::NetworkManagement::IpHelper::ConvertInterfaceAliasToLuid;
use windows_sys::Win32::NetworkManagement::Ndis::NET_LUID_LH;

use self::category::Category;
pub use self::changes::announce_changes;

/// The virtual adapter.
pub struct Adapter {
    name: String,
    luid: NET_LUID_LH,
    category: Category,
}

impl Adapter {
    /// The adapter of this name, which exists.
    pub fn open(name: &str) -> io::Result<Self> {
        let alias: Vec<u16> = name.encode_utf16().chain([0]).collect();
        let mut luid = NET_LUID_LH::default();
        // SAFETY: `alias` ends with a zero, and `luid` is ours to be written.
        succeeded(unsafe { ConvertInterfaceAliasToLuid(alias.as_ptr(), &raw mut luid) })?;
        Ok(Self {
            name: name.to_owned(),
            luid,
            category: Category::of(name),
        })
    }

    /// How everything that matters to a party is set. An error means that the adapter is gone.
    pub fn look(&mut self, wanted: &Wanted) -> io::Result<Seen> {
        let v4 = interface::look(self.luid, false)?;
        let v6 = interface::look(self.luid, true).ok();
        let is_best = |entry: &interface::Entry| entry.metric == Some(BEST_METRIC);
        let metric = if is_best(&v4) && v6.as_ref().is_none_or(is_best) {
            BEST_METRIC
        } else {
            v4.metric.unwrap_or_default()
        };
        let mtus = [Some(v4.mtu), v6.as_ref().map(|entry| entry.mtu)];
        let mut seen = Seen {
            is_up: interface::is_enabled(self.luid)?,
            // A flag of Linux; here every adapter takes multicasts.
            multicast: true,
            mtu: mtus
                .into_iter()
                .flatten()
                .find(|mtu| *mtu != wanted.mtu)
                .unwrap_or(wanted.mtu),
            addresses: self.addresses()?,
            takes_v6: v6.is_some(),
            metric: Some(metric),
            is_public: self.category.is_public(),
            ..Seen::default()
        };
        for route in Route::ALL {
            if seen.takes_v6 || !route.is_v6() {
                seen.routes.insert(route, routes::look(wanted, route, self.luid));
            }
        }
        Ok(seen)
    }

    /// Repairs one fault. A missing address is the device's matter.
    pub fn repair(&mut self, wanted: &Wanted, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Down => self.enable(),
            Fault::Mtu(_) | Fault::Metric => {
                interface::set(self.luid, false, BEST_METRIC, wanted.mtu)?;
                // A PC without IPv6 has no such entry.
                let _ = interface::set(self.luid, true, BEST_METRIC, wanted.mtu);
                Ok(())
            }
            Fault::Missing(route) | Fault::Behind(route, _) => routes::set(wanted, *route, self.luid),
            Fault::PublicNetwork => self.category.make_private(),
            Fault::Address(_) | Fault::NoMulticast => Ok(()),
        }
    }

    /// Windows takes the routes away with the address; only those that outlive it are taken out.
    pub fn clear(&mut self, wanted: &Wanted) -> io::Result<()> {
        // By the next party the system has made up its mind anew.
        self.category = Category::of(&self.name);
        for route in [Route::Subnet, Route::SubnetBroadcast, Route::Subnet6] {
            routes::remove(wanted, route, self.luid)?;
        }
        Ok(())
    }

    fn enable(&self) -> io::Result<()> {
        let name = format!("name={}", self.name);
        run(Command::new("netsh").args(["interface", "set", "interface", &name, "admin=enabled"])).map(drop)
    }

    fn addresses(&self) -> io::Result<BTreeSet<IpAddr>> {
        let ours = getifaddrs::getifaddrs()?.filter(|interface| interface.description == self.name);
        let addresses = ours.filter_map(|interface| match interface.address {
            Address::V4(v4) => Some(IpAddr::V4(v4.address)),
            Address::V6(v6) => Some(IpAddr::V6(v6.address)),
            Address::Mac(_) => None,
        });
        Ok(addresses.collect())
    }
}

/// What a call of the IP Helper API returned.
fn succeeded(code: u32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

/// Runs a program of the system to its end, without a window, and gives what it prints.
pub(super) fn run(command: &mut Command) -> io::Result<String> {
    use std::os::windows::process::CommandExt;
    use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

    let output = command.creation_flags(CREATE_NO_WINDOW).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(io::Error::other(said.trim().to_owned()))
    }
}
