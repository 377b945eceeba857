//! What makes the members' PCs look like one LAN, shared by the packet threads.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use parking_lot::Mutex;

use super::Masquerade;
use crate::broadcast::{Bridge, Way};

/// The bridge, and where this PC's sockets are bound to.
pub struct Lan {
    pub bridge: Mutex<Bridge>,
    pub masquerade: Masquerade,
}

impl Lan {
    pub fn new(bridge: Bridge) -> Self {
        Self {
            bridge: Mutex::new(bridge),
            masquerade: Masquerade::default(),
        }
    }

    /// Another party, or none: nothing of the one before goes on.
    pub fn clear(&self) {
        self.bridge.lock().clear();
        self.masquerade.clear();
    }
}

/// A network adapter of this PC besides the tunnel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherAdapter {
    /// The system's number for it.
    pub index: u32,
    /// The networks it is in, by this PC's addresses in them.
    pub networks: Vec<IpNet>,
}

impl OtherAdapter {
    /// Whether a packet with this source, which left by it, is this PC's own and not passed on for somebody else.
    pub fn is_own(&self, source: IpAddr) -> bool {
        self.networks.iter().any(|net| net.addr() == source)
    }

    /// How packets that left by it come to the bridge.
    pub fn way(&self, destination: IpAddr) -> Way {
        let broadcasts = self.networks.iter().filter_map(|net| match net {
            IpNet::V4(v4) if v4.prefix_len() < 31 => Some(v4.broadcast()),
            _ => None,
        });
        let is_it = |broadcast: &Ipv4Addr| destination == *broadcast;
        Way::Adapter {
            index: self.index,
            broadcast: broadcasts.into_iter().find(is_it),
        }
    }
}
