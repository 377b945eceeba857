//! What the user lets through the bridge, and what went through.

use std::collections::BTreeMap;

use lanrage_agent_core::broadcast::{Bridge, Policy, Rejection, is_for_games};
use lanrage_agent_core::games::GameLibrary;

use crate::api::{BridgeChange, BridgeMode, BridgeReport, Failure};
use crate::state::LanSettings;

/// What is let through: the ports of every known game, and what the user added.
pub fn policy(settings: &LanSettings, games: &GameLibrary) -> Policy {
    let mut policy = Policy::new(settings.open, settings.services.clone());
    let by_hand = settings.ports.iter().map(|span| span.ports());
    for ports in games.all_ports().chain(by_hand) {
        policy.allow(ports);
    }
    policy
}

/// The settings with what was asked for. Ports are taken back as they were given.
pub fn changed(settings: &LanSettings, change: &BridgeChange) -> Result<LanSettings, Failure> {
    let mut next = settings.clone();
    for span in &change.allow {
        if !span.ports().any(is_for_games) {
            let sentence = format!(
                "{span} is never passed on as a game's: DHCP, LLMNR and NetBIOS names do not pass at all, other services with --with"
            );
            return Err(Failure::new("port_never_bridged", sentence));
        }
    }
    for span in &change.forbid {
        if !settings.ports.contains(span) {
            let sentence = format!(
                "{span} was not allowed by hand, so there is nothing to take back; `lanrage lan` shows what was, and known games always pass"
            );
            return Err(Failure::new("port_not_allowed", sentence));
        }
    }
    if let Some(mode) = change.mode {
        next.open = mode == BridgeMode::Open;
    }
    next.ports.extend(&change.allow);
    next.ports.retain(|span| !change.forbid.contains(span));
    next.services.extend(&change.with);
    next.services.retain(|service| !change.without.contains(service));
    Ok(next)
}

/// `lanrage lan`.
pub fn report(settings: &LanSettings, games: usize, bridge: &Bridge) -> BridgeReport {
    let counts = bridge.counts();
    let labels = |counts: &BTreeMap<Rejection, u64>| {
        let labelled = counts.iter().map(|(reason, count)| (reason.label().to_owned(), *count));
        labelled.collect()
    };
    BridgeReport {
        mode: if settings.open {
            BridgeMode::Open
        } else {
            BridgeMode::Games
        },
        games,
        ports: settings.ports.iter().copied().collect(),
        services: settings.services.iter().copied().collect(),
        sent: counts.sent,
        received: counts.received,
        not_sent: labels(&counts.not_sent),
        not_received: labels(&counts.not_received),
    }
}

#[cfg(test)]
mod tests {
    use lanrage_agent_core::broadcast::Service;

    use super::*;

    #[test]
    fn what_was_added_can_be_taken_back() {
        let change = BridgeChange {
            mode: Some(BridgeMode::Open),
            allow: vec!["4445".parse().unwrap(), "5000-5003".parse().unwrap()],
            with: vec![Service::Mdns],
            ..BridgeChange::default()
        };
        let open = changed(&LanSettings::default(), &change).unwrap();
        assert!(open.open && open.ports.len() == 2 && open.services.contains(&Service::Mdns));
        let back = BridgeChange {
            mode: Some(BridgeMode::Games),
            forbid: vec!["4445".parse().unwrap(), "5000-5003".parse().unwrap()],
            without: vec![Service::Mdns],
            ..BridgeChange::default()
        };
        assert_eq!(changed(&open, &back).unwrap(), LanSettings::default());
        assert_eq!(
            changed(&LanSettings::default(), &back).unwrap_err().code,
            "port_not_allowed"
        );
        let dhcp = BridgeChange {
            allow: vec!["67-68".parse().unwrap()],
            ..BridgeChange::default()
        };
        assert_eq!(changed(&open, &dhcp).unwrap_err().code, "port_never_bridged");
    }
}
