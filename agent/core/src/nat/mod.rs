//! Finds out how the outside sees this PC: its public address, and how the NAT in front of it behaves.
//!
//! Per address family one survey runs. What the outside sees is asked from the agent's one UDP socket, whose mapping is the
//! one that matters. Whom the NAT lets in is tested from a *side socket*, a fresh one for every measurement: the NAT's filter
//! may be open for the server's addresses where the agent's socket sent before, in this run or an earlier one.
//!
//! 1. *Seeking*: ask the servers, the first one first, until one answers. That answer is the public address and arrives
//!    after one round trip; it is enough to start connecting.
//! 2. *Measuring* (RFC 4787 terms, RFC 5780 method). *Filtering*: the server is asked to answer from its other port, and from
//!    its other address; what arrives shows whose packets the NAT lets in. *Mapping*: other ports and addresses are asked, and
//!    what they see is compared.
//! 3. *Resting*, and every 15 s asking again, which keeps the mapping alive and notices a changed address.
//!
//! Networks lose packets, and a lost answer looks like a filtered one. A test therefore fails only after several rounds, and
//! after more of them the more plain questions were lost beside it.

mod attempts;
mod classify;
mod discovery;
mod measuring;
mod message;
pub mod prediction;
mod questions;
mod survey;

#[cfg(any(test, feature = "testing"))]
pub mod model;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use lanrage_shared::api::presence::{Filtering, Mapping};

pub use discovery::Discovery;

/// A STUN server: one address with two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StunEndpoint {
    /// Address and first port.
    pub address: SocketAddr,
    /// The second port on the same address.
    pub second_port: u16,
}

/// How the NAT behaves and how the outside sees this PC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NatReport {
    /// Of IPv4 where there is IPv4, else of IPv6. With a server of only one address an address-dependent mapping, which
    /// hardly any NAT has, cannot be told from an endpoint-independent one and is reported as that.
    pub mapping: Mapping,
    /// Of the same family. With a server of only one address the looser kinds are reported as address-dependent.
    pub filtering: Filtering,
    /// The public IPv4 address and port; none while no IPv4 server answers.
    pub public_address: Option<SocketAddr>,
    /// The public IPv6 address and port; none while no IPv6 server answers.
    pub public_address6: Option<SocketAddr>,
}

/// What the discovery found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The public address of one family, when it becomes known or changes.
    Mapped(SocketAddr),
    /// The whole picture, when it is complete or changes.
    Report(NatReport),
}

/// A socket to send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The agent's UDP socket.
    Main,
    /// Another one of this address family, on a port of its own that nothing was sent from before this number came up. A new
    /// number ends the one before.
    Side(u32),
}

/// A datagram to send. Its answer is taken from whichever socket it arrives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where from.
    pub from: Socket,
    /// Where to.
    pub to: SocketAddr,
    /// The datagram, [`lanrage_shared::wire::stun::REQUEST_LEN`] bytes.
    pub bytes: Vec<u8>,
}
