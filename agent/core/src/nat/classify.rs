//! What the observations say about the NAT (RFC 4787 §4.1 and §5). Pure comparison; "undecided" is `None`.

use std::net::{IpAddr, SocketAddr};

use lanrage_shared::api::presence::{Filtering, Mapping};

/// What one address, asked plainly, saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not asked yet, or no answer yet.
    Pending,
    /// It does not answer.
    Silent,
    /// The address it saw.
    Mapped(SocketAddr),
}

/// Whether an answer from somewhere else came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// Still trying.
    Open,
    /// It came, from where nothing had been sent to.
    Passed,
    /// It never came.
    Failed,
    /// The server cannot do it.
    Unsupported,
}

/// Everything a survey has observed.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    /// What the server that answers first (the primary) sees.
    pub(super) base: SocketAddr,
    /// `base` is one of this PC's own addresses.
    pub(super) base_is_own: bool,
    /// What the primary's address sees on its other port.
    pub(super) sibling: Seen,
    /// What other addresses see.
    pub(super) elsewhere: Vec<(SocketAddr, Seen)>,
    /// Answer from another address and port.
    pub(super) change_both: Test,
    /// Answer from another port.
    pub(super) change_port: Test,
}

impl Observations {
    /// How the NAT maps, once that is certain or nothing more can be learned.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        if self.base_is_own {
            return Some(Mapping::None);
        }
        let seen = || self.elsewhere.iter().map(|(_, seen)| *seen);
        if seen().any(|seen| seen == Seen::Mapped(self.base)) {
            return Some(Mapping::EndpointIndependent);
        }
        let differs_elsewhere = seen().any(|seen| matches!(seen, Seen::Mapped(_)));
        match self.sibling {
            Seen::Mapped(mapped) if mapped != self.base => Some(Mapping::AddressAndPortDependent),
            Seen::Mapped(_) if differs_elsewhere => Some(Mapping::AddressDependent),
            Seen::Pending => None,
            _ if differs_elsewhere => self.compare_ports_elsewhere(),
            _ if seen().any(|seen| seen == Seen::Pending) => None,
            Seen::Mapped(_) => Some(Mapping::EndpointIndependent),
            Seen::Silent => Some(Mapping::Unknown),
        }
    }

    /// Without an answer from the sibling, two ports of another address tell as well.
    fn compare_ports_elsewhere(&self) -> Option<Mapping> {
        let mut by_address: Vec<(IpAddr, SocketAddr)> = Vec::new();
        for (asked, seen) in &self.elsewhere {
            let Seen::Mapped(mapped) = seen else { continue };
            if let Some((_, first)) = by_address.iter().find(|(ip, _)| *ip == asked.ip()) {
                return Some(if first == mapped {
                    Mapping::AddressDependent
                } else {
                    Mapping::AddressAndPortDependent
                });
            }
            by_address.push((asked.ip(), *mapped));
        }
        let pending = self.elsewhere.iter().any(|(_, seen)| *seen == Seen::Pending);
        // Either kind is symmetric in practice; the stricter one promises less.
        (!pending).then_some(Mapping::AddressAndPortDependent)
    }

    /// Whom the NAT lets in, once that is certain or nothing more can be learned.
    pub(super) fn filtering(&self) -> Option<Filtering> {
        match (self.change_both, self.change_port) {
            (Test::Passed, _) => Some(Filtering::EndpointIndependent),
            (Test::Open, _) | (_, Test::Open) => None,
            // Without a usable second address, the stricter of the two that are left.
            (_, Test::Passed) => Some(Filtering::AddressDependent),
            // Nothing from the sibling proves something only if the sibling can be reached at all.
            (_, Test::Failed) => match self.sibling {
                Seen::Pending => None,
                Seen::Silent => Some(Filtering::Unknown),
                Seen::Mapped(_) => Some(Filtering::AddressAndPortDependent),
            },
            (_, Test::Unsupported) => Some(Filtering::Unknown),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn observations() -> Observations {
        Observations {
            base: at("192.0.2.1:1000"),
            base_is_own: false,
            sibling: Seen::Silent,
            elsewhere: vec![
                (at("203.0.113.11:3478"), Seen::Mapped(at("192.0.2.1:1001"))),
                (at("203.0.113.11:3479"), Seen::Mapped(at("192.0.2.1:1001"))),
            ],
            change_both: Test::Failed,
            change_port: Test::Failed,
        }
    }

    #[test]
    fn two_ports_elsewhere_stand_in_for_a_silent_sibling() {
        let mut seen = observations();
        assert_eq!(seen.mapping(), Some(Mapping::AddressDependent));
        seen.elsewhere[1].1 = Seen::Mapped(at("192.0.2.1:1002"));
        assert_eq!(seen.mapping(), Some(Mapping::AddressAndPortDependent));
        seen.elsewhere[1].1 = Seen::Pending;
        assert_eq!(seen.mapping(), None);
    }

    #[test]
    fn a_sibling_nobody_reaches_proves_no_filter() {
        let mut seen = observations();
        assert_eq!(seen.filtering(), Some(Filtering::Unknown));
        seen.sibling = Seen::Pending;
        assert_eq!(seen.filtering(), None);
        seen.sibling = Seen::Mapped(seen.base);
        assert_eq!(seen.filtering(), Some(Filtering::AddressAndPortDependent));
    }

    #[test]
    fn nothing_is_decided_while_an_answer_may_come() {
        let mut seen = observations();
        seen.sibling = Seen::Mapped(seen.base);
        seen.elsewhere = vec![(at("203.0.113.11:3478"), Seen::Pending)];
        assert_eq!(seen.mapping(), None);
        seen.elsewhere[0].1 = Seen::Silent;
        assert_eq!(seen.mapping(), Some(Mapping::EndpointIndependent));
        seen.change_port = Test::Open;
        assert_eq!(seen.filtering(), None);
    }
}
