//! A router that opens ports on request: miniupnpd, the program most home routers run.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::home::Home;
use super::internet::{Lab, which};
use super::portmap;
use super::process::Process;
use super::wait;

/// The chains miniupnpd writes its rules into, hooked in before the home's own. A packet it let in carries the `dnat` status
/// that the home's filter accepts.
const CHAINS: &str = "table inet upnp {
chain forward { type filter hook forward priority -10; jump miniupnpd; }
chain miniupnpd { }
chain arriving { type nat hook prerouting priority dstnat - 1; jump prerouting_miniupnpd; }
chain prerouting_miniupnpd { }
chain leaving { type nat hook postrouting priority srcnat - 1; jump postrouting_miniupnpd; }
chain postrouting_miniupnpd { }
}
";

/// Starts miniupnpd on a home's router and waits until it answers.
pub fn start(lab: &Lab, home: &Home) -> Result<()> {
    let program = which("miniupnpd").context("a UPnP router needs miniupnpd: apt-get install miniupnpd-nftables")?;
    home.router.nft(CHAINS)?;
    let name = format!("miniupnpd-{}", home.number);
    let config = lab.dir().join(format!("{name}.conf"));
    fs::write(&config, config_text(home)?)?;
    let mut command = home.router.command(program);
    command
        .arg("-d")
        .arg("-f")
        .arg(&config)
        .arg("-P")
        .arg(lab.dir().join(format!("{name}.pid")));
    let mut daemon = Process::spawn(command, &name, lab.dir())?;
    let host = home.host();
    wait::until("miniupnpd to answer NAT-PMP", Duration::from_secs(10), || {
        if let Some(why) = daemon.died() {
            return Some(Err(why));
        }
        portmap::external_address(&host.netns, host.gateway).ok().map(Ok)
    })??;
    lab.adopt(daemon);
    Ok(())
}

fn config_text(home: &Home) -> Result<String> {
    let mut text = String::from(
        "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nenable_natpmp=yes\nenable_upnp=yes\nsecure_mode=yes\nsystem_uptime=no\n\
         notify_interval=60\nmin_lifetime=60\nmax_lifetime=86400\nupnp_table_name=upnp\nupnp_nat_table_name=upnp\n\
         upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n\
         ipv6_disable=yes\n",
    );
    writeln!(text, "uuid=6c616e72-6167-6520-6c61-6200000000{:02x}", home.number)?;
    let gateway = home.host().gateway;
    writeln!(
        text,
        "allow 1024-65535 {gateway}/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535"
    )?;
    Ok(text)
}
