//! Which addresses and ports a server answers on, and which is the alternate of which.

use std::net::{IpAddr, SocketAddr};

/// Most addresses a server listens on: two IPv4 and two IPv6.
const MAX_PER_FAMILY: usize = 2;

/// One of a server's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalPort {
    /// Index into [`Listen::addresses`].
    pub address: usize,
    /// Index into [`Listen::ports`].
    pub port: usize,
}

/// The addresses and the two ports of a server. Two addresses of one family are each other's alternate (RFC 5780 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    addresses: Vec<IpAddr>,
    ports: [u16; 2],
}

/// Addresses and ports that do not make a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    #[error("a STUN server needs two different ports, but both are {0}; choose another second port")]
    SamePort(u16),
    #[error("a STUN server needs an address to listen on; give at least one")]
    NoAddress,
    #[error("the address {0} is given twice; give it once")]
    Twice(IpAddr),
    #[error("more than two {0} addresses are given; two are enough to tell every kind of NAT apart")]
    TooMany(&'static str),
    #[error("{0} already stands for every {1} address of this machine; give either it or single addresses")]
    Wildcard(IpAddr, &'static str),
    #[error("{0} is not an address a server can answer from; give one of this machine's own addresses")]
    NotAHost(IpAddr),
}

impl Listen {
    /// Checks that `addresses` and `ports` make a server. 0.0.0.0 and [::] stand for every address of their family and have
    /// no alternate.
    pub fn new(addresses: Vec<IpAddr>, ports: [u16; 2]) -> Result<Self, ListenError> {
        if ports[0] == ports[1] {
            return Err(ListenError::SamePort(ports[0]));
        }
        if addresses.is_empty() {
            return Err(ListenError::NoAddress);
        }
        for (index, address) in addresses.iter().enumerate() {
            let same_family = |other: &&IpAddr| other.is_ipv4() == address.is_ipv4();
            let siblings = addresses.iter().filter(same_family).count();
            if addresses[..index].contains(address) {
                return Err(ListenError::Twice(*address));
            }
            if !is_host(*address) && !address.is_unspecified() {
                return Err(ListenError::NotAHost(*address));
            }
            if address.is_unspecified() && siblings > 1 {
                return Err(ListenError::Wildcard(*address, family(*address)));
            }
            if siblings > MAX_PER_FAMILY {
                return Err(ListenError::TooMany(family(*address)));
            }
        }
        Ok(Self { addresses, ports })
    }

    /// The addresses, in the order given.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The two ports.
    pub fn ports(&self) -> [u16; 2] {
        self.ports
    }

    /// The socket address of one of the sockets; 0.0.0.0 or [::] when it stands for all of them.
    pub fn socket_address(&self, local: LocalPort) -> Option<SocketAddr> {
        let address = self.addresses.get(local.address)?;
        Some(SocketAddr::new(*address, *self.ports.get(local.port)?))
    }

    /// The other address of the same family.
    pub(super) fn alternate(&self, address: usize) -> Option<usize> {
        let family = self.addresses.get(address)?.is_ipv4();
        let others = self.addresses.iter().enumerate();
        others
            .filter(|(index, other)| *index != address && other.is_ipv4() == family)
            .map(|(index, _)| index)
            .next()
    }
}

/// Whether packets can be sent to (and come from) one host of this address.
pub(super) fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addresses: &[&str]) -> Result<Listen, ListenError> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Listen::new(addresses, [3478, 3479])
    }

    #[test]
    fn addresses_of_one_family_are_alternates() {
        let listen = listen(&["192.0.2.1", "::1", "192.0.2.2"]).unwrap();
        assert_eq!(listen.alternate(0), Some(2));
        assert_eq!(listen.alternate(1), None);
        assert_eq!(listen.alternate(2), Some(0));
        let local = LocalPort { address: 2, port: 1 };
        assert_eq!(listen.socket_address(local), Some("192.0.2.2:3479".parse().unwrap()));
    }

    #[test]
    fn what_makes_no_server_is_refused() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(listen(&[]), Err(ListenError::NoAddress));
        assert_eq!(listen(&["::1", "::1"]), Err(ListenError::Twice(ip("::1"))));
        assert_eq!(listen(&["224.0.0.1"]), Err(ListenError::NotAHost(ip("224.0.0.1"))));
        assert_eq!(
            listen(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
            Err(ListenError::TooMany("IPv4"))
        );
        assert_eq!(
            listen(&["0.0.0.0", "192.0.2.2"]),
            Err(ListenError::Wildcard(ip("0.0.0.0"), "IPv4"))
        );
        assert_eq!(Listen::new(vec![ip("::1")], [1, 1]), Err(ListenError::SamePort(1)));
        assert!(listen(&["0.0.0.0", "::"]).is_ok());
    }
}
