//! What else this PC is connected to: networks with the party's addresses, and other virtual networks.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use lanrage_shared::addr::in_the_way;

use super::{DoctorCheck, ok, problem, typed, warning};
use crate::io::netwatch::LocalAddress;

/// Who may move the party to another network.
pub enum Mover {
    ThisPc,
    /// The host, called this.
    Host(String),
}

/// Whether the party's addresses are somebody else's as well, here.
pub fn conflict(party: &Ipv4Net, addresses: &[LocalAddress], mover: &Mover) -> DoctorCheck {
    let Some((net, interface)) = in_conflict(party, addresses) else {
        return ok(
            "address_conflict",
            format!("no other network here has addresses of the party's {party}"),
        );
    };
    let fix = match mover {
        Mover::ThisPc => format!("{} moves the party to another network", typed("doctor --fix")),
        Mover::Host(host) => format!(
            "ask {host} to run {}, which moves the party to another network",
            typed(&format!("doctor --fix --avoid {net}"))
        ),
    };
    problem(
        "address_conflict",
        format!(
            "the network {net} on {interface} has the party's addresses ({party}), so one of the two is hard to reach"
        ),
        fix,
    )
}

/// The first network of this PC's that the party hides too much of, and its interface.
fn in_conflict<'a>(party: &Ipv4Net, addresses: &'a [LocalAddress]) -> Option<(Ipv4Net, &'a str)> {
    addresses.iter().find_map(|local| {
        let IpNet::V4(net) = IpNet::new(local.address, local.prefix).ok()?.trunc() else {
            return None;
        };
        in_the_way(party, &[net])?;
        Some((net, local.interface.as_str()))
    })
}

/// Other virtual networks that are up: games may take one of them for the LAN.
pub fn other_vpns(addresses: &[LocalAddress], own_tun: &str) -> DoctorCheck {
    let others: BTreeMap<&str, &str> = addresses
        .iter()
        .filter(|local| local.interface != own_tun)
        .filter_map(|local| Some((local.interface.as_str(), vpn_kind(&local.interface)?)))
        .collect();
    if others.is_empty() {
        return ok("other_vpns", "no other virtual network is up");
    }
    let listed: Vec<String> = others.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
    warning(
        "other_vpns",
        format!(
            "other virtual networks are up, and a game may choose one of them: {}",
            listed.join(", ")
        ),
        "if a game finds nobody, switch them off while you play",
    )
}

/// What makes interfaces with such a name. Names are all that every system tells; on Windows they are the adapters'.
fn vpn_kind(name: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 13] = [
        ("tailscale", "Tailscale"),
        ("zerotier", "ZeroTier"),
        ("zt", "ZeroTier"),
        ("hamachi", "Hamachi"),
        ("ham", "Hamachi"),
        ("radmin", "Radmin VPN"),
        ("nordlynx", "NordVPN"),
        ("proton", "Proton VPN"),
        ("wireguard", "WireGuard"),
        ("wg", "WireGuard"),
        ("openvpn", "OpenVPN"),
        ("tun", "a VPN"),
        ("tap", "a VPN"),
    ];
    let name = name.to_lowercase();
    if name.starts_with("lanrage") {
        return Some("another LANrage");
    }
    KINDS
        .iter()
        .find(|(start, _)| name.starts_with(start))
        .map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Verdict;

    fn local(interface: &str, address: &str, prefix: u8) -> LocalAddress {
        LocalAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            prefix,
            index: 2,
        }
    }

    #[test]
    fn a_network_with_the_partys_addresses_is_named_with_who_can_move_the_party() {
        let party = "10.64.3.0/24".parse().unwrap();
        let lan = [local("lo0", "fd00::1", 64), local("eth0", "10.64.3.77", 24)];
        let here = conflict(&party, &lan, &Mover::ThisPc);
        assert_eq!(here.verdict, Verdict::Problem);
        assert!(here.what.contains("10.64.3.0/24 on eth0"), "{here:?}");
        let there = conflict(&party, &lan, &Mover::Host("Anna".to_owned())).fix.unwrap();
        assert!(
            there.contains("Anna") && there.contains("--avoid 10.64.3.0/24"),
            "{there}"
        );
        let apart = [local("eth0", "192.168.1.7", 24), local("wg0", "10.0.0.1", 8)];
        assert_eq!(conflict(&party, &apart, &Mover::ThisPc).verdict, Verdict::Ok);
    }

    #[test]
    fn other_virtual_networks_are_named_with_their_kind_and_ours_is_none() {
        let addresses = [
            local("lanrage0", "10.64.3.1", 24),
            local("eth0", "192.168.1.7", 24),
            local("wlan0", "192.168.1.8", 24),
            local("tailscale0", "100.64.0.1", 32),
            local("Radmin VPN", "26.1.2.3", 8),
        ];
        let check = other_vpns(&addresses, "lanrage0");
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(
            check.what.ends_with("Radmin VPN (Radmin VPN), tailscale0 (Tailscale)"),
            "{check:?}"
        );
        assert_eq!(other_vpns(&addresses[..3], "lanrage0").verdict, Verdict::Ok);
    }
}
