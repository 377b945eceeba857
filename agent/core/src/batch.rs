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

/// How a datagram gets to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    Direct(SocketAddr),
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
            Self::Direct(address) => Some(*address),
            Self::Relay { .. } => None,
        }
    }

    /// The relay of a relayed route.
    pub fn relay(&self) -> Option<RelayNumber> {
        match self {
            Self::Direct(_) => None,
            Self::Relay { relay, .. } => Some(*relay),
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
    pub relayed: Vec<Relayed>,
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
        self.direct.is_empty() && self.relayed.is_empty()
    }
}
