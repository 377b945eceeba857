//! Why there is no path to a peer, in words and with what would help.

use lanrage_shared::api::presence::{Filtering, Mapping, NatSummary};

use crate::path::LeftForRelay;

/// A round-trip time or its jitter is told when it is worse by this much, in ms.
const TOLD_MS: f64 = 3.0;

/// What is known when a peer has no direct path.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub peer_name: &'a str,
    /// The relay its packets go through.
    pub relay: Option<&'a str>,
    /// When a direct path that works is left for the relay.
    pub left_for_relay: Option<LeftForRelay>,
    /// The peer's agent is connected to the control server.
    pub peer_online: bool,
    /// None until it was tried for the first time.
    pub server_reachable: Option<bool>,
    /// The server names STUN servers, without which nobody learns where it can be reached.
    pub has_stun: bool,
    /// The peer's addresses are being probed, and one whole punch has not gone by yet.
    pub first_attempt: bool,
    /// Both are seen under one public address.
    pub same_public_ip: bool,
    pub mine: NatSummary,
    pub theirs: NatSummary,
}

/// One sentence, two at most.
pub fn explain(c: Circumstances<'_>) -> String {
    match c.relay {
        Some(relay) => relayed(relay, c),
        None => no_path(c),
    }
}

fn relayed(relay: &str, c: Circumstances<'_>) -> String {
    if let Some(left) = c.left_for_relay {
        let how = how_worse(left);
        return format!("relayed through {relay}: the direct path {how}, so the relay is better at the moment");
    }
    if c.mine.mapping == Mapping::Unknown || c.theirs.mapping == Mapping::Unknown || c.first_attempt {
        return format!("relayed through {relay} while a direct path is looked for");
    }
    format!("relayed through {relay}: {}", no_path(c))
}

/// In what the direct path is worse.
fn how_worse(LeftForRelay { direct, relay }: LeftForRelay) -> String {
    let mut how = Vec::new();
    if direct.loss_percent >= relay.loss_percent + 1.0 {
        how.push(format!("loses {:.0} % of its packets", direct.loss_percent));
    }
    if direct.rtt_ms >= relay.rtt_ms + TOLD_MS {
        how.push(format!(
            "answers after {:.0} ms instead of {:.0}",
            direct.rtt_ms, relay.rtt_ms
        ));
    }
    if direct.jitter_ms >= relay.jitter_ms + TOLD_MS {
        how.push("answers unevenly".to_owned());
    }
    if how.is_empty() {
        how.push("fell silent again and again".to_owned());
    }
    how.join(" and ")
}

fn no_path(c: Circumstances<'_>) -> String {
    let name = c.peer_name;
    if c.server_reachable.is_none() {
        return connecting(name);
    }
    if c.server_reachable == Some(false) && !c.first_attempt {
        return format!(
            "the control server is not reachable and {name} does not answer at the addresses known from before; \
             connecting goes on by itself when one of them is back"
        );
    }
    if c.server_reachable == Some(true) && !c.peer_online {
        return format!("{name}'s agent is not running or has no internet connection");
    }
    if c.mine.mapping == Mapping::Blocked && c.theirs.mapping == Mapping::Blocked {
        return format!(
            "neither you nor {name} gets an answer from the server's STUN ports: either the server's firewall lets no UDP \
             through to them (3478 and 3479, unless set otherwise), or both your networks let none through"
        );
    }
    if c.mine.mapping == Mapping::Blocked {
        return "your network lets no UDP through: allow outgoing UDP in the firewall, or use another network"
            .to_owned();
    }
    if c.theirs.mapping == Mapping::Blocked {
        return format!(
            "{name}'s network lets no UDP through: it has to allow outgoing UDP in its firewall, or use another network"
        );
    }
    if incompatible(c.mine, c.theirs) {
        return format!(
            "your NAT is {} and {name}'s is {}: neither can tell the other where to send. Turning on UPnP (or NAT-PMP, PCP) \
             in one of the two routers makes a direct path possible",
            c.mine.common_name(),
            c.theirs.common_name()
        );
    }
    if c.same_public_ip && !c.first_attempt {
        return format!(
            "you and {name} are behind the same router or provider, and it passes nothing between its own customers: turning on \
             UPnP (or NAT-PMP, PCP), or IPv6, can make a direct path possible"
        );
    }
    if c.first_attempt {
        return connecting(name);
    }
    if !c.has_stun {
        return format!(
            "the server has no STUN service, so neither you nor {name} knows where it can be reached from outside: whoever runs \
             the server has to start it with --with-relay, or name the relay's STUN ports in its [services]"
        );
    }
    format!(
        "none of {name}'s addresses answers: a firewall on one of the two PCs or routers probably blocks the agent's UDP port"
    )
}

fn connecting(name: &str) -> String {
    format!("connecting to {name} …")
}

/// Whether hole punching cannot work between two NATs, or only by guessing: one gives every destination another port, and the
/// other lets only exact addresses in.
pub fn incompatible(a: NatSummary, b: NatSummary) -> bool {
    let reachable = |nat: NatSummary| {
        nat.port_mapping || (nat.mapping == Mapping::None && nat.filtering == Filtering::EndpointIndependent)
    };
    if reachable(a) || reachable(b) {
        return false;
    }
    let strict = |nat: NatSummary| is_symmetric(nat) || nat.filtering == Filtering::AddressAndPortDependent;
    (is_symmetric(a) && strict(b)) || (is_symmetric(b) && strict(a))
}

/// Whether every destination sees another port.
pub fn is_symmetric(nat: NatSummary) -> bool {
    matches!(
        nat.mapping,
        Mapping::AddressDependent | Mapping::AddressAndPortDependent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Quality, Trend};

    fn nat(mapping: Mapping, filtering: Filtering) -> NatSummary {
        NatSummary {
            mapping,
            filtering,
            port_mapping: false,
        }
    }

    const SYMMETRIC: (Mapping, Filtering) = (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent);
    const PORT_RESTRICTED: (Mapping, Filtering) = (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);

    fn circumstances() -> Circumstances<'static> {
        Circumstances {
            relay: None,
            left_for_relay: None,
            peer_name: "Ben",
            peer_online: true,
            server_reachable: Some(true),
            has_stun: true,
            first_attempt: false,
            same_public_ip: false,
            mine: nat(SYMMETRIC.0, SYMMETRIC.1),
            theirs: nat(PORT_RESTRICTED.0, PORT_RESTRICTED.1),
        }
    }

    #[test]
    fn a_direct_path_that_works_but_badly_is_not_blamed_on_a_firewall() {
        let relay = Quality {
            rtt_ms: 30.0,
            jitter_ms: 1.0,
            loss_percent: 0.0,
            score: 92,
            trend: Trend::Stable,
        };
        let told = |direct| {
            explain(Circumstances {
                relay: Some("fra-1"),
                left_for_relay: Some(LeftForRelay { direct, relay }),
                ..circumstances()
            })
        };
        let lossy = Quality {
            rtt_ms: 81.0,
            loss_percent: 12.0,
            ..relay
        };
        assert_eq!(
            told(lossy),
            "relayed through fra-1: the direct path loses 12 % of its packets and answers after 81 ms instead of 30, so the \
             relay is better at the moment"
        );
        let uneven = Quality {
            jitter_ms: 40.0,
            ..relay
        };
        assert!(
            told(uneven).contains("the direct path answers unevenly, so"),
            "{}",
            told(uneven)
        );
    }

    #[test]
    fn a_symmetric_nat_against_a_strict_one_is_explained() {
        let text = no_path(circumstances());
        assert!(
            text.contains("your NAT is symmetric and Ben's is port-restricted"),
            "{text}"
        );
        assert!(text.contains("UPnP"));
    }

    #[test]
    fn an_opened_port_or_a_lax_filter_makes_a_pair_compatible() {
        let symmetric = nat(SYMMETRIC.0, SYMMETRIC.1);
        assert!(incompatible(symmetric, symmetric));
        assert!(!incompatible(
            symmetric,
            nat(Mapping::EndpointIndependent, Filtering::AddressDependent)
        ));
        assert!(!incompatible(
            symmetric,
            NatSummary {
                port_mapping: true,
                ..symmetric
            }
        ));
    }

    #[test]
    fn neighbours_behind_one_carrier_nat_are_told_so() {
        let nat = nat(PORT_RESTRICTED.0, PORT_RESTRICTED.1);
        let neighbours = Circumstances {
            mine: nat,
            theirs: nat,
            same_public_ip: true,
            ..circumstances()
        };
        assert!(no_path(neighbours).contains("same router or provider"));
    }

    #[test]
    fn blocked_udp_and_absence_are_said() {
        let blocked = nat(Mapping::Blocked, Filtering::Unknown);
        assert!(
            no_path(Circumstances {
                mine: blocked,
                ..circumstances()
            })
            .contains("your network lets no UDP")
        );
        assert!(
            no_path(Circumstances {
                theirs: blocked,
                ..circumstances()
            })
            .contains("Ben's network lets no UDP")
        );
        assert!(
            no_path(Circumstances {
                peer_online: false,
                ..circumstances()
            })
            .contains("not running")
        );
    }

    #[test]
    fn what_the_server_lacks_is_not_blamed_on_a_player() {
        let open = nat(Mapping::Unknown, Filtering::Unknown);
        let without_stun = Circumstances {
            has_stun: false,
            mine: open,
            theirs: open,
            ..circumstances()
        };
        assert!(no_path(without_stun).contains("--with-relay"));
        let blocked = nat(Mapping::Blocked, Filtering::Unknown);
        let both_blocked = Circumstances {
            mine: blocked,
            theirs: blocked,
            ..circumstances()
        };
        assert!(no_path(both_blocked).contains("the server's firewall"));
    }

    #[test]
    fn before_the_server_was_tried_nothing_is_wrong_yet() {
        let starting = Circumstances {
            server_reachable: None,
            peer_online: false,
            ..circumstances()
        };
        assert_eq!(no_path(starting), "connecting to Ben …");
    }
}
