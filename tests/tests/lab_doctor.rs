//! The network adapter stays as games need it, whatever else changes it, and `lanrage doctor` tells and repairs the rest.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::control::Control;
use lanrage_tests::lab::{HomeSpec, Lab, Nat, Netns, wait};
use serde_json::Value;

/// Much less than the half minute after which an agent looks without being told of a change.
const SOON: Duration = Duration::from_secs(5);
/// Until members reach each other again after everything began anew.
const CONNECTED: Duration = Duration::from_secs(20);
/// How often the agent may be faster than the doctor.
const ATTEMPTS: usize = 20;
const TUN: &str = "lanrage0";

/// A host of a party.
struct Pc {
    agent: Agent,
    netns: Netns,
    ip: Ipv4Addr,
}

impl Pc {
    fn host(lab: &mut Lab, control: &Control) -> Result<Self> {
        let (netns, agent) = up(lab, "Anna")?;
        let ip = agent.host(&control.link, "Friday")?.virtual_ip;
        Ok(Self { agent, netns, ip })
    }

    fn guest(lab: &mut Lab, host: &Self) -> Result<Self> {
        let (netns, agent) = up(lab, "Ben")?;
        let answer = host.agent.run(&["--json", "invite"])?;
        let invite: Value = serde_json::from_str(&answer.stdout)?;
        let ip = agent.join(invite["invite"].as_str().context("no invite")?)?.virtual_ip;
        Ok(Self { agent, netns, ip })
    }

    /// The party's network, as this PC knows it.
    fn net(&self) -> Result<String> {
        let [a, b, c, _] = self.agent.status()?.virtual_ip.context("no address")?.octets();
        Ok(format!("{a}.{b}.{c}.0/24"))
    }

    /// Gives this PC's LAN the party's addresses, as well.
    fn roam_into(&self, net: &str) -> Result<()> {
        self.ip(&format!("addr add {} dev eth0", net.replace(".0/24", ".177/24")))
    }

    fn reaches(&self, other: &Self) -> Result<()> {
        let ping = || self.agent.run(&["--json", "ping", other.agent.name(), "-c", "1"]).ok();
        let answered = || ping().filter(|answer| answer.code == 0 && !answer.stdout.contains("\"rtt_ms\":null"));
        wait::until(&format!("{} to answer", other.agent.name()), CONNECTED, answered).map(drop)
    }

    /// By which interface the kernel sends to this address.
    fn way_to(&self, address: impl Into<IpAddr>) -> Result<String> {
        let address: IpAddr = address.into();
        let route = self.netns.run("ip", &["route", "get", &address.to_string()])?;
        let mut words = route.split_whitespace().skip_while(|word| *word != "dev");
        words
            .nth(1)
            .map(str::to_owned)
            .with_context(|| format!("no interface in {route:?}"))
    }

    fn subnet_broadcast(&self) -> Ipv4Addr {
        let [a, b, c, _] = self.ip.octets();
        Ipv4Addr::new(a, b, c, 255)
    }

    /// Everything that games send to without knowing whom.
    fn wide_addresses(&self) -> [IpAddr; 5] {
        [
            Ipv4Addr::BROADCAST.into(),
            self.subnet_broadcast().into(),
            Ipv4Addr::new(224, 0, 0, 251).into(),
            Ipv4Addr::new(239, 255, 255, 250).into(),
            IpAddr::V6("ff05::c".parse().unwrap_or(std::net::Ipv6Addr::UNSPECIFIED)),
        ]
    }

    fn ip(&self, change: &str) -> Result<()> {
        let words: Vec<&str> = change.split_whitespace().collect();
        self.netns.run("ip", &words).map(drop)
    }

    /// What `doctor` says of one check, and its exit code.
    fn doctor(&self, arguments: &[&str], id: &str) -> Result<(Value, i32)> {
        let answer = self.agent.run(&[&["--json", "doctor"], arguments].concat())?;
        let report: Value = serde_json::from_str(&answer.stdout).with_context(|| format!("{answer:?}"))?;
        let checks = report["checks"].as_array().context("no checks")?;
        let check = checks.iter().find(|check| check["id"] == id);
        Ok((
            check.with_context(|| format!("no check {id} in {report}"))?.clone(),
            answer.code,
        ))
    }

    /// Makes a change and asks the doctor before the agent has repaired it by itself, which takes a fifth of a second.
    fn doctor_after(&self, change: &str, arguments: &[&str], id: &str, is_seen: fn(&Value) -> bool) -> Result<i32> {
        let mut last = Value::Null;
        for _ in 0..ATTEMPTS {
            self.gets_right("the change of before")?;
            self.ip(change)?;
            let (check, code) = self.doctor(arguments, id)?;
            if is_seen(&check) {
                return Ok(code);
            }
            last = check;
        }
        bail!("`{change}` was never seen by doctor: {last}")
    }

    fn is_right(&self) -> Result<()> {
        for address in self.wide_addresses() {
            let way = self.way_to(address)?;
            ensure!(way == TUN, "{address} goes by {way}");
        }
        let link = self.netns.run("ip", &["link", "show", TUN])?;
        ensure!(
            link.contains("MULTICAST") && link.contains("UP") && link.contains("mtu 1280"),
            "{link}"
        );
        Ok(())
    }

    fn gets_right(&self, what: &str) -> Result<()> {
        wait::until(&format!("the adapter to be right after {what}"), SOON, || {
            self.is_right().ok()
        })
        .or_else(|error| self.is_right().context(error))
    }

    fn repairs(&self, kind: &str) -> Result<u64> {
        let answer = self.agent.run(&["--json", "status"])?;
        let status: Value = serde_json::from_str(&answer.stdout)?;
        Ok(status["lan"]["repairs"][kind].as_u64().unwrap_or_default())
    }

    fn counts(&self, kind: &str, count: u64) -> Result<()> {
        wait::until(&format!("{count} repairs of {kind}"), SOON, || {
            (self.repairs(kind).ok()? >= count).then_some(())
        })
    }
}

fn up(lab: &mut Lab, name: &str) -> Result<(Netns, Agent)> {
    let netns = lab.home(HomeSpec::new(Nat::PortRestricted))?.host().netns.clone();
    let agent = Agent::up(&netns, name, lab.dir())?;
    Ok((netns, agent))
}

#[test]
fn what_others_change_of_the_adapter_is_set_right_again_and_counted() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let control = Control::start(&lab.srv, lab.dir())?;
    let pc = Pc::host(&mut lab, &control)?;
    pc.is_right()?;
    ensure!(pc.repairs("route_broadcast")? == 0, "setting it up is no repair");

    let changes = [
        ("route_broadcast", format!("route del 255.255.255.255/32 dev {TUN}")),
        ("route_multicast", format!("route del 224.0.0.0/4 dev {TUN}")),
        (
            "route_subnet_broadcast",
            format!("route del broadcast {} table local dev {TUN}", pc.subnet_broadcast()),
        ),
        (
            "route_multicast6",
            format!("-6 route del multicast ff00::/8 dev {TUN} table local metric 1"),
        ),
        ("multicast_flag", format!("link set {TUN} multicast off")),
        ("mtu", format!("link set {TUN} mtu 1400")),
        ("address", format!("addr flush dev {TUN}")),
        ("adapter_down", format!("link set {TUN} down")),
        // As another VPN does: to the same destination, before ours.
        ("metric", "route prepend 224.0.0.0/4 dev eth0".to_owned()),
    ];
    for (kind, change) in changes {
        let before = pc.repairs(kind)?;
        pc.ip(&change)?;
        pc.gets_right(&change)?;
        pc.counts(kind, before + 1)?;
    }
    let multicast = pc.netns.run("ip", &["route", "show", "224.0.0.0/4"])?;
    ensure!(
        multicast.contains("eth0"),
        "the other program's route is gone: {multicast}"
    );

    pc.netns.run(
        "ip",
        &[
            "-6",
            "route",
            "del",
            "multicast",
            "ff00::/8",
            "dev",
            TUN,
            "table",
            "local",
            "metric",
            "1",
        ],
    )?;
    pc.netns.run(
        "ip",
        &[
            "-6",
            "route",
            "add",
            "multicast",
            "ff00::/8",
            "dev",
            "eth0",
            "table",
            "local",
            "metric",
            "1",
        ],
    )?;
    pc.gets_right("a stolen IPv6 metric")?;
    let multicast = pc
        .netns
        .run("ip", &["-6", "route", "show", "table", "local", "type", "multicast"])?;
    ensure!(multicast.matches("metric 1 ").count() == 2, "{multicast}");

    pc.agent.run(&["leave"])?;
    for table in [["route", "show"].as_slice(), &["-6", "route", "show", "table", "local"]] {
        let routes = pc.netns.run("ip", table)?;
        let left = routes
            .lines()
            .filter(|line| line.contains(TUN) && !line.contains("proto kernel"));
        ensure!(left.count() == 0, "{routes}");
    }
    Ok(())
}

#[test]
fn the_doctor_finds_what_is_wrong_with_the_adapter_and_repairs_it() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let control = Control::start(&lab.srv, lab.dir())?;
    let pc = Pc::host(&mut lab, &control)?;
    let changes = [
        ("route_broadcast", format!("route del 255.255.255.255/32 dev {TUN}")),
        ("multicast_flag", format!("link set {TUN} multicast off")),
        ("metric", "route prepend 224.0.0.0/4 dev eth0".to_owned()),
        ("adapter", format!("link set {TUN} down")),
    ];
    for (id, change) in changes {
        let is_problem = |check: &Value| check["verdict"] == "problem" && check["fix"].is_string();
        let code = pc.doctor_after(&change, &[], id, is_problem)?;
        ensure!(code == 1, "exit code {code} with a problem");
        // The other program's route of before would be there already.
        let _ = pc.ip("route del 224.0.0.0/4 dev eth0");
        let is_fixed = |check: &Value| check["verdict"] == "ok" && check["fixed"] == true;
        let code = pc.doctor_after(&change, &["--fix"], id, is_fixed)?;
        ensure!(code == 0, "exit code {code} after {id} was repaired");
        pc.is_right()?;
    }
    Ok(())
}

#[test]
fn the_doctor_speaks_plainly_of_what_it_cannot_repair_and_of_a_pc_that_is_well() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let control = Control::start(&lab.srv, lab.dir())?;
    let pc = Pc::host(&mut lab, &control)?;
    wait::until("the doctor to be content", Duration::from_secs(20), || {
        (pc.doctor(&[], "server").ok()?.1 == 0).then_some(())
    })?;
    let said = pc.agent.run(&["doctor"])?;
    ensure!(
        said.code == 0 && said.stdout.contains("Nothing keeps games"),
        "{said:?}"
    );

    pc.netns.nft(
        "table inet shut {\n chain in {\n type filter hook input priority 0; policy drop;\n iifname lo accept\n }\n}\n",
    )?;
    let (check, code) = pc.doctor(&["--fix"], "firewall")?;
    ensure!(code == 1 && check["verdict"] == "problem", "{check}");
    let command = format!("nft insert rule inet shut in iifname \"{TUN}\" accept");
    ensure!(
        check["fix"].as_str().is_some_and(|fix| fix.contains(&command)),
        "{check}"
    );
    let words: Vec<&str> = command.split_whitespace().collect();
    pc.netns.run(words[0], &words[1..])?;
    let (check, _) = pc.doctor(&[], "firewall")?;
    ensure!(check["verdict"] == "ok", "{check}");

    pc.agent.run(&["down"])?;
    let said = pc.agent.run(&["doctor"])?;
    ensure!(
        said.code == 1 && said.stdout.contains("the agent is not running"),
        "{said:?}"
    );
    let (check, _) = pc.doctor(&[], "tun_device")?;
    ensure!(check["verdict"] == "ok", "{check}");
    Ok(())
}

#[test]
fn a_party_whose_network_is_a_members_lan_moves_to_another() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let control = Control::start(&lab.srv, lab.dir())?;
    let anna = Pc::host(&mut lab, &control)?;
    let mut ben = Pc::guest(&mut lab, &anna)?;
    ben.reaches(&anna)?;

    let first = anna.net()?;
    ben.roam_into(&first)?;
    let (check, code) = ben.doctor(&["--fix"], "address_conflict")?;
    let advice = format!("doctor --fix --avoid {first}");
    ensure!(code == 1 && check["verdict"] == "problem", "{check}");
    let fix = check["fix"].as_str().unwrap_or_default();
    ensure!(fix.contains("Anna") && fix.contains(&advice), "{check}");
    let refused = ben.agent.run(&["doctor", "--fix", "--avoid", &first])?;
    ensure!(refused.code == 1 && refused.stderr.contains("ask Anna"), "{refused:?}");
    anna.doctor(&["--fix", "--avoid", &first], "address_conflict")?;
    let second = anna.net()?;
    ensure!(second != first, "the party is still at {first}");
    wait::until("Ben to follow", SOON, || (ben.net().ok()? == second).then_some(()))?;
    let (check, _) = ben.doctor(&[], "address_conflict")?;
    ensure!(check["verdict"] == "ok", "{check}");
    ben.reaches(&anna)?;
    anna.reaches(&ben)?;

    // The host's own LAN, while the guest is away and learns of it later.
    ben.agent.kill();
    anna.roam_into(&second)?;
    let (check, _) = anna.doctor(&["--fix"], "address_conflict")?;
    ensure!(check["verdict"] == "ok" && check["fixed"] == true, "{check}");
    let third = anna.net()?;
    ensure!(third != second, "the party is still at {second}");
    ben.agent.restart()?;
    wait::until("Ben to follow", SOON, || (ben.net().ok()? == third).then_some(()))?;
    ben.reaches(&anna)?;
    anna.reaches(&ben)?;
    let routes = anna.netns.run("ip", &["route", "show", "dev", TUN])?;
    let old = second.trim_end_matches("0/24");
    ensure!(!routes.contains(old) && routes.contains(&third), "{routes}");
    Ok(())
}
