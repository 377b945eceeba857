//! Which ports are bridged.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Rejection;

/// Never: DHCP (RFC 2131, RFC 9915), NetBIOS names (RFC 1002), LLMNR (RFC 4795). They belong to the network a PC is in.
const NEVER: [u16; 6] = [67, 68, 137, 546, 547, 5355];

/// Something that is not a game and finds others by broadcast or multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Multicast DNS (RFC 6762): printers, speakers, names ending in .local.
    Mdns,
    /// UPnP's discovery: media servers, routers.
    Ssdp,
    /// NetBIOS datagrams (RFC 1002): Windows' old network neighbourhood.
    Netbios,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Mdns, Self::Ssdp, Self::Netbios];

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Ssdp => "ssdp",
            Self::Netbios => "netbios",
        }
    }

    /// Its UDP port.
    pub fn port(self) -> u16 {
        match self {
            Self::Mdns => 5353,
            Self::Ssdp => 1900,
            Self::Netbios => 138,
        }
    }
}

/// Whether games may use this port at all: it is neither one that is never bridged nor a service's.
pub fn is_for_games(port: u16) -> bool {
    port != 0 && !NEVER.contains(&port) && Service::ALL.iter().all(|service| service.port() != port)
}

/// What is bridged besides what never is.
#[derive(Debug, Clone)]
pub struct Policy {
    open: bool,
    services: BTreeSet<Service>,
    ports: Box<[u64; 1024]>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(false, BTreeSet::new())
    }
}

impl Policy {
    /// Any port, or none yet; and these services.
    pub fn new(open: bool, services: BTreeSet<Service>) -> Self {
        Self {
            open,
            services,
            ports: Box::new([0; 1024]),
        }
    }

    /// Lets these ports through.
    pub fn allow(&mut self, ports: RangeInclusive<u16>) {
        for port in ports {
            self.ports[usize::from(port >> 6)] |= 1 << (port & 63);
        }
    }

    /// Whether this PC's packet to a port goes out.
    pub(super) fn check_local(&self, port: u16) -> Result<(), Rejection> {
        self.check_remote(port)?;
        let is_service = Service::ALL.iter().any(|service| service.port() == port);
        let is_allowed = self.ports[usize::from(port >> 6)] & 1 << (port & 63) != 0;
        if self.open || is_service || is_allowed {
            return Ok(());
        }
        Err(Rejection::PortNotAllowed)
    }

    /// Whether a member's packet to a port comes in. Which games somebody has is the sender's business; what would disturb this PC
    /// is not.
    pub(super) fn check_remote(&self, port: u16) -> Result<(), Rejection> {
        if NEVER.contains(&port) {
            return Err(Rejection::NeverBridged);
        }
        match Service::ALL.into_iter().find(|service| service.port() == port) {
            Some(service) if !self.services.contains(&service) => Err(Rejection::NotOptedIn),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_let_through_by_name_or_all_at_once_and_some_never() {
        let mut policy = Policy::default();
        assert_eq!(policy.check_local(27960), Err(Rejection::PortNotAllowed));
        policy.allow(27960..=27963);
        assert_eq!(policy.check_local(27963), Ok(()));
        assert_eq!(policy.check_local(27964), Err(Rejection::PortNotAllowed));
        policy.allow(0..=u16::MAX);
        assert_eq!(policy.check_local(1), Ok(()));
        for port in NEVER {
            assert_eq!(policy.check_local(port), Err(Rejection::NeverBridged));
        }
        assert_eq!(policy.check_local(5353), Err(Rejection::NotOptedIn));
        let mut open = Policy::new(true, BTreeSet::new());
        assert_eq!(open.check_local(40000), Ok(()));
        assert_eq!(open.check_local(1900), Err(Rejection::NotOptedIn));
        assert_eq!(open.check_local(137), Err(Rejection::NeverBridged));
        open.services.insert(Service::Ssdp);
        assert_eq!(open.check_local(1900), Ok(()));
        assert_eq!(open.check_local(5353), Err(Rejection::NotOptedIn));
    }

    #[test]
    fn a_service_opted_in_to_needs_no_port() {
        let policy = Policy::new(false, [Service::Mdns].into());
        assert_eq!(policy.check_local(5353), Ok(()));
        assert_eq!(policy.check_remote(5353), Ok(()));
        assert_eq!(policy.check_remote(1900), Err(Rejection::NotOptedIn));
        assert_eq!(policy.check_remote(40000), Ok(()));
    }
}
