//! Multicast groups this PC is a member of on the virtual LAN.
//!
//! A game joins a group on the adapter the system chose, or on one of its own choice, and often before there was a virtual LAN. What
//! arrives on another adapter for a group nobody joined there goes no further. So the agent joins every group it has packets
//! for; the system then gives them to every socket that joined the group anywhere (IP_MULTICAST_ALL on Linux).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tracing::debug;

/// Groups at a time. Members name them, so there is an end.
const MOST: usize = 256;
/// Groups a socket can join on Linux (net.ipv4.igmp_max_memberships), with room.
const PER_SOCKET: usize = 16;

/// The groups joined on one interface. They are left when this is dropped.
#[derive(Debug)]
pub struct Groups {
    interface: u32,
    joined: BTreeSet<IpAddr>,
    v4: Vec<(Socket, usize)>,
    v6: Vec<(Socket, usize)>,
}

impl Groups {
    /// None yet, on the interface with this index.
    pub fn new(interface: u32) -> Self {
        Self {
            interface,
            joined: BTreeSet::new(),
            v4: Vec::new(),
            v6: Vec::new(),
        }
    }

    /// Leaves all.
    pub fn clear(&mut self) {
        *self = Self::new(self.interface);
    }

    /// Joins a group, unless that was done.
    pub fn ensure(&mut self, group: IpAddr) {
        if self.joined.contains(&group) {
            return;
        }
        if self.joined.len() >= MOST {
            // Those in use are joined again with their next packet.
            self.clear();
        }
        match self.join(group) {
            Ok(()) => drop(self.joined.insert(group)),
            // Who wants it has joined it on this interface, or goes without until it can be joined.
            Err(error) => debug!(%error, "a multicast group was not joined"),
        }
    }

    fn join(&mut self, group: IpAddr) -> io::Result<()> {
        let sockets = if group.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if sockets.last().is_none_or(|(_, groups)| *groups >= PER_SOCKET) {
            let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            sockets.push((Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?, 0));
        }
        let Some((socket, groups)) = sockets.last_mut() else {
            return Ok(());
        };
        *groups += 1;
        match group {
            IpAddr::V4(v4) => socket.join_multicast_v4_n(&v4, &InterfaceIndexOrAddress::Index(self.interface)),
            IpAddr::V6(v6) => socket.join_multicast_v6(&v6, self.interface),
        }
    }
}
