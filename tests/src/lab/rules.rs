//! nftables rules of every NAT kind.
//!
//! conntrack alone gives the two kinds Linux routers are: `masquerade` keeps the source port where it can and lets in only
//! the address and port that was spoken to; `masquerade fully-random` draws a port per destination, and a port set by a counter
//! gives them out in a row. The endpoint-independent
//! kinds need memory across destinations: after translation every flow's host and public port are noted in two maps, which
//! the first packet of each later flow looks up. Filtering is then a question of who may use the way back.

use std::net::Ipv4Addr;

use super::kind::Nat;

/// Seconds an unused mapping lives unless a home says otherwise; RFC 4787 REQ-5 wants at least 120.
pub const MAPPING_LIFETIME_S: u32 = 120;

/// The rules of a router with its hosts on `lan` and the address `public` on `wan`, whose unused mappings live `life` seconds.
pub fn nat(kind: Nat, public: Ipv4Addr, life: u32) -> String {
    let body = match kind {
        Nat::Open => String::new(),
        Nat::Linux => source_nat("oifname wan masquerade") + CLOSED_FROM_OUTSIDE,
        Nat::Symmetric => source_nat("oifname wan masquerade fully-random") + CLOSED_FROM_OUTSIDE,
        Nat::Sequential => source_nat(&sequential()) + CLOSED_FROM_OUTSIDE,
        Nat::UdpBlocked => {
            source_nat("oifname wan masquerade")
                + CLOSED_FROM_OUTSIDE
                + "chain no_udp { type filter hook forward priority -5; meta l4proto udp drop; }\n"
        }
        Nat::FullCone => cone(
            "iifname wan meta l4proto udp dnat ip to udp dport map @host_of",
            false,
            public,
            life,
        ),
        Nat::AddressRestricted => cone(
            "iifname wan udp dport . ip saddr @spoken_to dnat ip to udp dport map @host_of",
            false,
            public,
            life,
        ),
        Nat::PortRestricted => cone("", false, public, life),
        Nat::Hairpin => cone("", true, public, life),
    };
    format!("table ip lab {{\n{body}}}\n")
}

/// IPv6 of a home: no translation, and what a home router's firewall does (RFC 6092): answers come in, the rest does not.
pub const FIREWALL6: &str = "table ip6 lab {
chain through { type filter hook forward priority 0; policy accept;
  ct state established,related accept
  iifname wan drop
}
}
";

/// Nothing from the internet gets in that no host asked for. Dropped, not rejected: a router that refused an early punch would
/// also keep a conntrack entry of it that takes the port away from the host.
const CLOSED_FROM_OUTSIDE: &str = "chain to_router { type filter hook input priority 0;
  ct state established,related accept
  iifname wan meta l4proto { udp, tcp } drop
}
chain through { type filter hook forward priority 0;
  iifname wan ct status dnat accept
  iifname wan ct state new drop
}
";

/// One port after the other, whoever asks; a flow that is new asks once. The counter counts in the machine's byte order and ports
/// are in the network's, hence the map.
fn sequential() -> String {
    let ports = (0..SEQUENTIAL_PORTS).map(|index| format!("{index} : {}", FIRST_SEQUENTIAL_PORT + index));
    let ports = ports.collect::<Vec<_>>().join(", ");
    format!(
        "oifname wan meta l4proto udp masquerade to :numgen inc mod {SEQUENTIAL_PORTS} map {{ {ports} }}\n  oifname wan masquerade"
    )
}

const FIRST_SEQUENTIAL_PORT: u16 = 20_000;
const SEQUENTIAL_PORTS: u16 = 8192;

fn source_nat(rule: &str) -> String {
    format!("chain leaving {{ type nat hook postrouting priority srcnat; {rule}; }}\n")
}

fn cone(arriving: &str, hairpin: bool, public: Ipv4Addr, life: u32) -> String {
    let memory = format!("flags dynamic,timeout; timeout {life}s; size 32768;");
    // What comes from the LAN for the public address is marked on its way in, for the chains on its way out.
    let (turning, turn_in, turn_out, turn_note) = if hairpin {
        (
            format!(
                "chain turning {{ type filter hook prerouting priority -120;
  iifname lan ip daddr {public} meta l4proto udp meta mark set 1
}}\n"
            ),
            "meta mark 1 meta l4proto udp dnat ip to udp dport map @host_of",
            format!(
                "oifname lan meta mark 1 meta l4proto udp snat ip to ip saddr . udp sport map @public_of
  oifname lan meta mark 1 meta l4proto udp snat ip to {public}"
            ),
            "oifname lan meta mark 1 meta l4proto udp jump note",
        )
    } else {
        (String::new(), "", String::new(), "")
    };
    let arriving = arriving.replacen("iifname wan", &format!("iifname wan ip daddr {public}"), 1);
    format!(
        "map host_of {{ type inet_service : ipv4_addr . inet_service; {memory} }}
map public_of {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; {memory} }}
set spoken_to {{ type inet_service . ipv4_addr; {memory} }}
{turning}chain arriving {{ type nat hook prerouting priority dstnat;
  {arriving}
  {turn_in}
}}
chain leaving {{ type nat hook postrouting priority srcnat;
  {turn_out}
  oifname wan meta l4proto udp snat ip to ip saddr . udp sport map @public_of
  oifname wan udp sport @host_of masquerade to :20000-60999 random
  oifname wan masquerade
}}
chain left {{ type filter hook postrouting priority 150;
  {turn_note}
  oifname wan meta l4proto udp jump note
}}
chain note {{
  meta l4proto udp ct direction original update @host_of {{ udp sport : ct original ip saddr . ct original proto-src }}
  meta l4proto udp ct direction original update @public_of {{ ct original ip saddr . ct original proto-src : ip saddr . udp sport }}
  meta l4proto udp ct direction original update @spoken_to {{ udp sport . ct original ip daddr }}
  meta l4proto udp ct direction reply update @host_of {{ udp sport : ct reply ip saddr . ct reply proto-src }}
  meta l4proto udp ct direction reply update @public_of {{ ct reply ip saddr . ct reply proto-src : ip saddr . udp sport }}
  meta l4proto udp ct direction reply update @spoken_to {{ udp sport . ip daddr }}
}}
{CLOSED_FROM_OUTSIDE}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_friendly_kinds_let_new_flows_in() {
        let opens =
            |kind| nat(kind, Ipv4Addr::LOCALHOST, MAPPING_LIFETIME_S).contains("iifname wan ip daddr 127.0.0.1");
        assert!(opens(Nat::FullCone) && opens(Nat::AddressRestricted));
        assert!(!opens(Nat::PortRestricted) && !opens(Nat::Linux));
        assert!(!opens(Nat::Symmetric) && !opens(Nat::Sequential));
    }
}
