//! The commands as the README has people use them: the agent goes to the background, and nothing of it stays.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::control::Control;
use lanrage_tests::lab::process::{self, Finished};
use lanrage_tests::lab::{HomeSpec, Lab, Nat, Netns, agent, clock, sweep, wait};
use serde_json::Value;

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A PC on which only commands are typed.
struct Pc {
    netns: Netns,
    state: PathBuf,
    /// Its interfaces without LANrage.
    interfaces: Vec<String>,
}

impl Pc {
    fn new(lab: &mut Lab, name: &str) -> Result<Self> {
        let netns = lab.home(HomeSpec::new(Nat::PortRestricted))?.host().netns.clone();
        Ok(Self {
            state: lab.dir().join(name),
            interfaces: interfaces(&netns)?,
            netns,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(agent::command(&self.netns, &self.state, arguments)?, COMMAND_LIMIT)
    }

    /// What a command that must succeed prints.
    fn printed(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.run(arguments)?;
        ensure!(answer.code == 0, "lanrage {}: {answer:?}", arguments.join(" "));
        Ok(answer.stdout)
    }

    /// As JSON, a line each.
    fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let printed = self.printed(&[&["--json"], arguments].concat())?;
        Ok(printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Runs a command that must fail with one sentence that contains `part`.
    fn refused(&self, arguments: &[&str], part: &str) -> Result<()> {
        let answer = self.run(arguments)?;
        ensure!(
            answer.code == 1 && answer.stderr.lines().count() == 1 && answer.stderr.contains(part),
            "lanrage {}: {answer:?}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn agents(&self) -> usize {
        sweep::processes_in(&self.netns).len()
    }

    /// Waits until neither a process nor an interface nor a socket of an agent is left.
    fn is_as_before(&self) -> Result<()> {
        let gone = wait::until("everything of the agent to be gone", Duration::from_secs(2), || {
            let same = interfaces(&self.netns).is_ok_and(|now| now == self.interfaces);
            let quiet = |name: &str| !self.state.join(name).exists();
            (same && self.agents() == 0 && quiet("agent.sock") && quiet("agent.pid")).then_some(())
        });
        gone.with_context(|| format!("{} processes, interfaces {:?}", self.agents(), interfaces(&self.netns)))
    }
}

fn interfaces(netns: &Netns) -> Result<Vec<String>> {
    let all = netns.run("ip", &["-brief", "link", "show"])?;
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    Ok(all.lines().filter_map(name).collect())
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("no {name} in {value}"))
}

fn first(mut lines: Vec<Value>) -> Result<Value> {
    ensure!(lines.len() == 1, "one line of JSON, not {lines:?}");
    Ok(lines.remove(0))
}

fn start(lab: &Lab) -> Result<Control> {
    Control::start(&lab.srv, lab.dir())
}

#[test]
fn a_party_goes_as_the_readme_says() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let control = start(&lab)?;
    let (anna, ben) = (Pc::new(&mut lab, "anna")?, Pc::new(&mut lab, "ben")?);

    let hosted = first(anna.json(&["host", &control.link, "--name", "Anna"])?)?;
    ensure!(anna.agents() == 1, "`host` starts an agent");
    let said = ben.printed(&["join", text(&hosted, "invite")?, "--name", "Ben"])?;
    ensure!(said.contains(text(&hosted["party"], "name")?), "{said}");

    for whom in ["Anna", text(&hosted, "virtual_ip")?] {
        let tries = ben.json(&["ping", whom, "-c", "2"])?;
        ensure!(tries.len() == 2, "{tries:?}");
        for report in &tries {
            ensure!(report["peer"] == "Anna" && report["rtt_ms"].is_f64(), "{report}");
            ensure!(report["virtual_ip"] == hosted["virtual_ip"], "{report}");
        }
    }
    let said = ben.printed(&["ping", "Anna", "-c", "1"])?;
    ensure!(said.contains("Anna") && said.contains("answered in"), "{said}");
    let peers = first(anna.json(&["peers"])?)?;
    ensure!(peers["peers"][0]["name"] == "Ben", "{peers}");

    ensure!(first(ben.json(&["down"])?)?["pid"].is_u64());
    ben.is_as_before()?;
    let back = first(ben.json(&["up"])?)?;
    ensure!(back["party"]["member_name"] == "Ben", "{back}");
    ben.printed(&["down"])?;
    anna.printed(&["down"])?;
    ben.is_as_before()?;
    anna.is_as_before()
}

#[test]
fn an_agent_in_the_background_is_one_and_ends_without_a_trace() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let pc = Pc::new(&mut lab, "pc")?;
    let up = first(pc.json(&["up", "--tun-name", "games0"])?)?;
    ensure!(up["state"] == "idle" && up["device"]["tun"] == "games0", "{up}");
    ensure!(interfaces(&pc.netns)?.iter().any(|name| name.starts_with("games0")));
    pc.refused(&["up"], "already running")?;
    ensure!(pc.agents() == 1, "the second `up` left an agent");
    pc.printed(&["status"])?;
    pc.printed(&["down"])?;
    pc.is_as_before()?;
    pc.refused(&["down"], "not running")
}

#[test]
fn what_an_agent_was_started_for_in_vain_ends_it_again() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let mut control = start(&lab)?;
    let (anna, pc) = (Pc::new(&mut lab, "anna")?, Pc::new(&mut lab, "pc")?);
    anna.printed(&["host", &control.link, "--name", "Anna"])?;
    let brief = first(anna.json(&["invite", "--expires", "1m"])?)?;
    control.restart_with_clock(&clock::moved_by(120, lab.dir())?)?;

    pc.refused(&["join", text(&brief, "invite")?], "expired")?;
    pc.is_as_before()?;
    let (_, pin) = control.link.split_once('#').context("a link has a pin")?;
    pc.refused(
        &["host", &format!("lanrage://203.0.113.20:1#{pin}")],
        "cannot be reached",
    )?;
    pc.is_as_before()?;
    // The system goes on looking such a name up when the agent has given up.
    let asked = Instant::now();
    pc.refused(
        &["host", &format!("lanrage://no-such-host.invalid#{pin}")],
        "cannot be reached",
    )?;
    ensure!(
        asked.elapsed() < Duration::from_secs(12),
        "it took {:?}",
        asked.elapsed()
    );
    pc.is_as_before()?;
    ensure!(!pc.state.join("party.json").exists(), "half in a party");
    Ok(())
}

#[test]
fn what_is_taken_is_named_also_from_the_background() -> Result<()> {
    let Some(mut lab) = Lab::for_test()? else { return Ok(()) };
    let mut pc = Pc::new(&mut lab, "pc")?;
    let other = pc.netns.within(|| UdpSocket::bind("0.0.0.0:0"))??;
    let port = other.local_addr()?.port().to_string();
    pc.refused(&["up", "--port", &port], &port)?;
    pc.is_as_before()?;
    pc.netns.ip("tuntap add dev taken0 mode tun\n")?;
    pc.interfaces = interfaces(&pc.netns)?;
    pc.refused(&["up", "--tun-name", "taken0"], "taken0")?;
    pc.is_as_before()?;
    ensure!(!Path::new(&pc.state).join("party.json").exists());
    Ok(())
}
