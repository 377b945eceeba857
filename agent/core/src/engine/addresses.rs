//! Where this PC can be reached, and which of a peer's addresses may be tried.

use std::net::SocketAddr;

use lanrage_shared::addr::{PartyNet, is_host};
use lanrage_shared::signal::{Candidate, CandidateKind, MAX_CANDIDATES};

/// Interface addresses told to peers, so that those of a PC with many virtual adapters leave room for the public ones.
const MAX_INTERFACE_ADDRESSES: usize = 10;

/// Everything known about this PC's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Interface addresses with our UDP port.
    pub interfaces: Vec<SocketAddr>,
    /// What the router opened on request.
    pub port_mapped: Option<SocketAddr>,
    /// As STUN servers see us, per family.
    pub mapped: Option<SocketAddr>,
    pub mapped6: Option<SocketAddr>,
}

impl OwnAddresses {
    /// What to tell peers, best first, at most [`MAX_CANDIDATES`].
    pub fn candidates(&self, net: &PartyNet) -> Vec<Candidate> {
        let interfaces = self
            .interfaces
            .iter()
            .filter(|address| is_useful(address, net))
            .map(|address| Candidate {
                kind: if address.is_ipv4() {
                    CandidateKind::Lan
                } else {
                    CandidateKind::Ipv6
                },
                address: *address,
            });
        let mut candidates: Vec<Candidate> = interfaces.take(MAX_INTERFACE_ADDRESSES).collect();
        let public = [
            (CandidateKind::PortMapped, self.port_mapped),
            (CandidateKind::Mapped, self.mapped),
            (CandidateKind::Mapped, self.mapped6),
        ];
        for (kind, address) in public {
            let Some(address) = address else { continue };
            if candidates.iter().all(|candidate| candidate.address != address) {
                candidates.push(Candidate { kind, address });
            }
        }
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }

    /// Whether a peer's address may be probed: a place in some network, outside the party's own, and not ourselves.
    pub fn may_probe(&self, address: &SocketAddr, net: &PartyNet) -> bool {
        is_useful(address, net) && !self.interfaces.contains(address)
    }
}

/// Whether an address can be somebody's in a network shared with others, outside the party's own.
fn is_useful(address: &SocketAddr, net: &PartyNet) -> bool {
    is_host(address.ip()) && !net.contains(address.ip()) && address.port() != 0
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::PartyId;

    use super::*;

    fn net() -> PartyNet {
        PartyNet::at(0, "00000000-0000-0000-0000-000000000000".parse::<PartyId>().unwrap())
    }

    #[test]
    fn useless_addresses_are_neither_told_nor_tried() {
        let own = OwnAddresses {
            interfaces: [
                "127.0.0.1:1",
                "10.64.0.5:1",
                "192.168.1.2:1",
                "[fe80::1]:1",
                "[2001:db8::1]:1",
            ]
            .map(|text| text.parse().unwrap())
            .to_vec(),
            mapped: Some("192.168.1.2:1".parse().unwrap()),
            ..OwnAddresses::default()
        };
        let told: Vec<String> = own
            .candidates(&net())
            .iter()
            .map(|candidate| candidate.address.to_string())
            .collect();
        assert_eq!(told, ["192.168.1.2:1", "[2001:db8::1]:1"]);
        for bad in [
            "0.0.0.0:5",
            "255.255.255.255:5",
            "224.0.0.1:5",
            "10.64.0.9:5",
            "8.8.8.8:0",
            "192.168.1.2:1",
        ] {
            assert!(!own.may_probe(&bad.parse().unwrap(), &net()), "{bad}");
        }
        assert!(own.may_probe(&"192.168.1.3:1".parse().unwrap(), &net()));
    }
}
