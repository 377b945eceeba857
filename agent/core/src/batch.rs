//! What packet paths take and give: batches of whole datagrams in owned buffers, and the routes they take.

use std::net::SocketAddr;

use bytes::BytesMut;
use lanrage_shared::ids::MemberId;

/// A datagram and where it came from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram<P = SocketAddr> {
    pub peer: P,
    pub data: BytesMut,
}

/// A datagram on any route.
pub type Packet = Datagram<Route>;

/// A relay this agent has a session with, by the number its driver gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayNumber(pub u16);

/// A UDP socket of the agent's besides its main one, for paths through a NAT that gives every socket and destination a port of
/// their own. A number is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SideNumber(pub u32);

/// How a datagram gets to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// From the agent's main socket.
    Direct(SocketAddr),
    Side {
        socket: SideNumber,
        address: SocketAddr,
    },
    /// To the member of this party that the relay knows by its number.
    Relay {
        relay: RelayNumber,
        member: MemberId,
    },
}

impl Route {
    /// The address of a direct route.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(address) | Self::Side { address, .. } => Some(*address),
            Self::Relay { .. } => None,
        }
    }

    /// The relay of a relayed route.
    pub fn relay(&self) -> Option<RelayNumber> {
        match self {
            Self::Direct(_) | Self::Side { .. } => None,
            Self::Relay { relay, .. } => Some(*relay),
        }
    }

    /// The socket of a direct route that does not start at the main one.
    pub fn side(&self) -> Option<SideNumber> {
        match self {
            Self::Side { socket, .. } => Some(*socket),
            Self::Direct(_) | Self::Relay { .. } => None,
        }
    }
}

impl From<SocketAddr> for Route {
    fn from(address: SocketAddr) -> Self {
        Self::Direct(address)
    }
}

/// The route packets to a peer take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathInUse {
    pub route: Route,
    /// Packets take this one as well while the first is in doubt; WireGuard's replay window drops what arrives twice.
    pub also: Option<Route>,
}

impl From<Route> for PathInUse {
    fn from(route: Route) -> Self {
        Self { route, also: None }
    }
}

/// Datagrams to send, by what sends them. Reused from batch to batch; the caller drains it.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub direct: Vec<Datagram>,
    pub sided: Vec<Sided>,
    pub relayed: Vec<Relayed>,
}

/// A datagram for a side socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sided {
    pub socket: SideNumber,
    pub datagram: Datagram,
}

/// A datagram for a relay to pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    pub relay: RelayNumber,
    pub member: MemberId,
    pub data: BytesMut,
}

impl Outgoing {
    /// Adds a datagram.
    pub fn push(&mut self, route: Route, data: BytesMut) {
        match route {
            Route::Direct(peer) => self.direct.push(Datagram { peer, data }),
            Route::Side { socket, address } => {
                let datagram = Datagram { peer: address, data };
                self.sided.push(Sided { socket, datagram });
            }
            Route::Relay { relay, member } => self.relayed.push(Relayed { relay, member, data }),
        }
    }

    /// Adds a datagram on every route of a path.
    pub fn push_along(&mut self, path: PathInUse, data: BytesMut) {
        if let Some(also) = path.also {
            self.push(also, data.clone());
        }
        self.push(path.route, data);
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.sided.is_empty() && self.relayed.is_empty()
    }
}
