//! The agent, its server, the NAT, the relay and the clock.

use lanrage_shared::api::presence::Mapping;

use super::{DoctorCheck, ok, problem, typed, unknown, warning};
use crate::api::{AgentState, NatReport, RelaysReport, ServerReport, StatusReport};
use crate::io::control::clock;

/// A clock further off than this is worth a warning, in ms: WireGuard and tokens stand more, people's patience less.
pub const CLOCK_WARNING_MS: u64 = 120_000;

/// Seconds after which a relay that works is connected.
const SETTLING_S: u64 = 5;

/// What the agent says of itself and of its party, if it is in one.
pub fn checks(status: &StatusReport, relays: &RelaysReport, clock_offset_ms: Option<i64>) -> Vec<DoctorCheck> {
    let running = ok("agent", format!("the agent runs, version {}", status.version));
    let Some(party) = &status.party else {
        let idle = unknown(
            "party",
            "this PC is in no party, so most cannot be checked",
            format!("{} or {}", typed("join <invite>"), typed("host <server-link>")),
        );
        return vec![running, idle];
    };
    vec![
        running,
        ok("party", format!("this PC is in the party \"{}\"", party.name)),
        server(&status.server, status.state),
        clock(clock_offset_ms),
        nat(&status.nat, &status.server),
        relay(relays, is_settling(&status.server)),
    ]
}

fn server(server: &ServerReport, state: AgentState) -> DoctorCheck {
    let address = server.address.as_deref().unwrap_or("the server");
    match (&server.reason, state) {
        _ if server.reachable => ok("server", format!("the control server {address} is reachable")),
        (Some(reason), _) => problem(
            "server",
            format!("the control server {address} is not reachable: {reason}"),
            "check this PC's internet connection, and ask whoever runs the server whether it is up; running games go on meanwhile",
        ),
        (None, _) => unknown(
            "server",
            format!("the control server {address} is being contacted"),
            "ask again in a few seconds",
        ),
    }
}

fn clock(offset_ms: Option<i64>) -> DoctorCheck {
    let Some(offset_ms) = offset_ms else {
        return unknown(
            "clock",
            "the clock was not compared with the server's yet",
            "ask again in a few seconds",
        );
    };
    let off = offset_ms.unsigned_abs();
    if off <= CLOCK_WARNING_MS {
        return ok(
            "clock",
            format!("the clock agrees with the server's ({} s off)", off / 1000),
        );
    }
    let what = format!("the clock is {} s off the server's", off / 1000);
    let fix = format!("set it: {}", clock::HOW_TO_SET);
    if off > clock::TOLERATED_MS {
        problem("clock", what, fix)
    } else {
        warning("clock", what, fix)
    }
}

fn nat(nat: &NatReport, server: &ServerReport) -> DoctorCheck {
    match nat.mapping {
        Mapping::Unknown | Mapping::Other if is_settling(server) => {
            unknown("nat", "the NAT was not measured yet", "ask again in a few seconds")
        }
        Mapping::Unknown | Mapping::Other if !server.reachable => unknown(
            "nat",
            "the NAT cannot be measured while the server is away",
            "ask again when it is back",
        ),
        Mapping::Unknown | Mapping::Other => warning(
            "nat",
            "the NAT cannot be measured, and PCs behind routers do not find each other: no STUN server answers",
            "ask whoever runs the server to start it with --with-relay, or to name the relay's STUN ports in its [services], and to \
             open UDP 3478 and 3479",
        ),
        Mapping::Blocked => warning(
            "nat",
            "this network lets no UDP out, so everything goes through a relay by TCP, which is slower",
            "allow UDP in this network's firewall, or use another network",
        ),
        Mapping::AddressAndPortDependent if nat.port_mapping.is_none() => warning(
            "nat",
            "the router has a symmetric NAT, with which not every pair of players gets a direct path",
            "switch on UPnP in the router, or choose an \"open\" or \"full cone\" NAT there if it has such a setting",
        ),
        _ => ok("nat", format!("the NAT lets direct paths through ({})", nat.kind)),
    }
}

/// Whether the agent has only just begun, and measures.
fn is_settling(server: &ServerReport) -> bool {
    server.since.is_none_or(|since| since < SETTLING_S) && (server.reachable || server.reason.is_none())
}

fn relay(relays: &RelaysReport, is_settling: bool) -> DoctorCheck {
    let home = relays.relays.iter().find(|relay| relay.home && relay.connected);
    match home {
        Some(home) => {
            let far = home.rtt_ms.map_or(String::new(), |rtt| format!(", {rtt:.0} ms away"));
            ok("relay", format!("the relay {} stands by{far}", home.id))
        }
        None if is_settling => unknown("relay", "the relays are being tried", "ask again in a few seconds"),
        None if relays.relays.is_empty() => warning(
            "relay",
            "the server offers no relay, so pairs without a direct path cannot play together",
            "whoever runs the server can start it with --with-relay",
        ),
        None => warning(
            "relay",
            "no relay is connected, so pairs without a direct path cannot play together",
            format!(
                "{} says why of each; {} tries them again",
                typed("relays"),
                typed("refresh")
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RelayReport, Verdict};

    #[test]
    fn nats_that_cost_direct_paths_are_warned_of_with_what_helps() {
        let of = |mapping| NatReport {
            mapping,
            ..NatReport::default()
        };
        let server = |reachable, since, reason: Option<&str>| ServerReport {
            reachable,
            since: Some(since),
            reason: reason.map(str::to_owned),
            ..ServerReport::default()
        };
        let nat = |report: &NatReport| nat(report, &server(true, 60, None));
        assert_eq!(nat(&of(Mapping::EndpointIndependent)).verdict, Verdict::Ok);
        assert_eq!(
            nat(&of(Mapping::Unknown)).verdict,
            Verdict::Warning,
            "no STUN server answers"
        );
        for server in [server(true, 1, None), server(false, 60, Some("refused"))] {
            assert_eq!(super::nat(&of(Mapping::Unknown), &server).verdict, Verdict::Unknown);
        }
        for mapping in [Mapping::Blocked, Mapping::AddressAndPortDependent] {
            let check = nat(&of(mapping));
            assert!(check.verdict == Verdict::Warning && check.fix.is_some(), "{check:?}");
        }
        let opened = NatReport {
            port_mapping: Some("203.0.113.1:4000".parse().unwrap()),
            ..of(Mapping::AddressAndPortDependent)
        };
        assert_eq!(nat(&opened).verdict, Verdict::Ok, "the router opened a port");
    }

    #[test]
    fn a_server_that_is_away_is_a_problem_with_its_reason() {
        let away = ServerReport {
            address: Some("vps.example:8443".into()),
            reason: Some("connection refused".into()),
            ..ServerReport::default()
        };
        let check = server(&away, AgentState::Disconnected);
        assert!(check.verdict == Verdict::Problem && check.what.ends_with("not reachable: connection refused"));
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let verdict = |offset| clock(Some(offset)).verdict;
        assert_eq!(verdict(-2000), Verdict::Ok);
        assert_eq!(verdict(200_000), Verdict::Warning);
        assert_eq!(verdict(-400_000), Verdict::Problem);
        assert_eq!(clock(None).verdict, Verdict::Unknown);
    }

    #[test]
    fn only_a_connected_home_relay_will_do() {
        let report = |home, connected| RelaysReport {
            party: None,
            relays: vec![RelayReport {
                id: "fra-1".parse().unwrap(),
                region: None,
                load: None,
                connected,
                home,
                rtt_ms: Some(12.3),
                peers: 0,
                why: String::new(),
            }],
        };
        assert_eq!(
            relay(&report(true, true), false).what,
            "the relay fra-1 stands by, 12 ms away"
        );
        assert_eq!(relay(&report(false, false), false).verdict, Verdict::Warning);
        assert_eq!(relay(&report(false, false), true).verdict, Verdict::Unknown);
    }
}
