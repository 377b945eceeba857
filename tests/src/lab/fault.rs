//! What goes wrong in a home's network: paths cut or narrowed, mappings forgotten, addresses changed.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::address::SERVER;
use super::control::PORT;
use super::home::Home;
use super::internet::which;
use super::netns::Netns;
use super::wait;

/// Which packets between a home and a peer are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    BothWays,
    /// Only those that leave the home.
    Leaving,
    /// Only those that come to it.
    Arriving,
}

/// Loses what a router passes between its home and the public address `peer`, without telling anybody, until [`mend`].
pub fn cut(home: &Home, peer: Ipv4Addr, which: Cut) -> Result<()> {
    let leaving =
        format!("chain leaving {{ type filter hook postrouting priority 300; oifname wan ip daddr {peer} drop; }}\n");
    let arriving =
        format!("chain arriving {{ type filter hook prerouting priority -400; iifname wan ip saddr {peer} drop; }}\n");
    let chains = match which {
        Cut::BothWays => leaving + &arriving,
        Cut::Leaving => leaving,
        Cut::Arriving => arriving,
    };
    home.router.nft(&format!("table ip cut {{\n{chains}}}\n"))
}

/// Loses everything between a home and the internet, without telling anybody, until [`mend`].
pub fn cut_off(home: &Home) -> Result<()> {
    home.router.nft(
        "table ip cut {
chain leaving { type filter hook postrouting priority 300; oifname wan drop; }
chain arriving { type filter hook prerouting priority -400; iifname wan drop; }
}
",
    )
}

/// Undoes [`cut`] and [`cut_off`].
pub fn mend(home: &Home) -> Result<()> {
    home.router.nft("delete table ip cut\n")
}

/// Loses every packet between a home and the control server, without telling anybody, until [`mend_control`]. Relays are
/// reached.
pub fn cut_control(home: &Home) -> Result<()> {
    home.router.nft(&format!(
        "table ip cut_control {{
chain leaving {{ type filter hook postrouting priority 300; oifname wan ip daddr {SERVER} tcp dport {PORT} drop; }}
chain arriving {{ type filter hook prerouting priority -400; iifname wan ip saddr {SERVER} tcp sport {PORT} drop; }}
}}
"
    ))
}

/// Undoes [`cut_control`].
pub fn mend_control(home: &Home) -> Result<()> {
    home.router.nft("delete table ip cut_control\n")
}

/// Makes a router forget every mapping, as when it restarts. What it gives out next is another one only where its NAT draws
/// ports at random.
pub fn forget_mappings(router: &Netns) -> Result<()> {
    let program = which("conntrack").context("forgetting mappings needs conntrack: apt-get install conntrack")?;
    router.run(&program.to_string_lossy(), &["-F"]).map(drop)
}

/// Lets packets of at most `mtu` bytes pass between a home and the internet, either way: larger ones are cut up where they may
/// be, and refused with an ICMP message where not.
pub fn narrow(home: &Home, mtu: u16) -> Result<()> {
    for version in ["-4", "-6"] {
        let routes = home.router.run("ip", &[version, "route", "show", "table", "main"])?;
        for route in routes.lines() {
            // Locked: a route's own MTU counts for what is passed on only then.
            let plain = route.split(" mtu ").next().unwrap_or(route).replace(" linkdown", "");
            let narrow = format!("{version} route replace {} mtu lock {mtu}", plain.trim());
            home.router.run("ip", &narrow.split_whitespace().collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Gives a home's first PC another address of its LAN, as when it comes back with another lease.
pub fn change_lan_address(home: &Home, last: u8) -> Result<()> {
    let (host, gateway) = (home.host(), home.host().gateway);
    let [a, b, c, _] = host.address.octets();
    let new = Ipv4Addr::new(a, b, c, last);
    host.netns.ip(&format!(
        "addr flush dev eth0 scope global\naddr add {new}/24 dev eth0\nroute replace default via {gateway}\n"
    ))
}

/// Plugs a home's first PC into another home's router, whose LAN is the same to it: it keeps its address, and its router the
/// address of the one before.
pub fn roam(home: &Home, from: &Home, to: &Home) -> Result<()> {
    let port = format!("l-of-{}", home.number);
    let before = if from.number == home.number { "l-0" } else { &port };
    let after = if to.number == home.number { "l-0" } else { &port };
    let (pc, gateway) = (&home.host().netns, home.host().gateway);
    from.router
        .ip(&format!("link set {before} netns {} name {after}\n", to.router.name()))?;
    let is_in = || Some(!pc.run("ip", &["link", "show", "eth0"]).ok()?.contains("NO-CARRIER"));
    let wait_for = |what, state| wait::until(what, Duration::from_secs(5), || (is_in()? == state).then_some(()));
    // No network changes so fast that the PC does not see the cable out.
    wait_for("the cable to be out", false)?;
    to.router.ip(&format!(
        "addr replace {gateway}/24 dev lan\nlink set {after} master lan\nlink set {after} up\n"
    ))?;
    wait_for("the cable to be in", true)
}
