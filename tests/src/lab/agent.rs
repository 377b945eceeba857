//! The real agent, in the lab, driven through its command line as a script would.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bins;
use super::netns::Netns;
use super::process::{self, Finished, Process};
use super::wait;

const START_LIMIT: Duration = Duration::from_secs(15);
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    netns: Netns,
    logs: PathBuf,
    state: PathBuf,
    name: String,
}

/// The parts of `host --json` and `join --json` the lab looks at.
#[derive(Debug, Clone, Deserialize)]
pub struct Joined {
    pub virtual_ip: Ipv4Addr,
    pub invite: Option<String>,
}

/// The parts of `status --json` the lab looks at.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    pub state: String,
    pub device: Device,
    pub virtual_ip: Option<Ipv4Addr>,
    pub nat: Nat,
    pub server: Server,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Device {
    pub id: String,
    pub tun: String,
    pub port: u16,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Nat {
    pub mapping: String,
    pub filtering: String,
    pub kind: String,
    pub public_address: Option<SocketAddr>,
    pub port_mapping: Option<SocketAddr>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub reachable: bool,
}

/// One line of `peers --json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Peer {
    pub name: String,
    pub virtual_ip: Ipv4Addr,
    pub online: bool,
    pub path: PeerPath,
    pub reason: Option<String>,
}

/// How a peer is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerPath {
    pub kind: String,
    pub address: Option<SocketAddr>,
    pub relay: Option<String>,
    pub rtt_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
struct Relays {
    relays: Vec<KnownRelay>,
}

#[derive(Debug, Deserialize)]
struct KnownRelay {
    id: String,
    connected: bool,
}

impl Peer {
    /// Whether packets go straight to the peer.
    pub fn is_direct(&self) -> bool {
        self.path.kind == "direct"
    }

    /// Whether packets go through a relay.
    pub fn is_relayed(&self) -> bool {
        self.path.kind == "relay"
    }

    /// Why there is no direct path, once that is decided: what an agent says while it still looks for one does not count.
    pub fn settled_reason(&self) -> Option<&str> {
        let undecided = |reason: &&str| reason.starts_with("connecting to ") || reason.ends_with("is looked for");
        self.reason
            .as_deref()
            .filter(|reason| !reason.is_empty() && !undecided(reason))
    }
}

impl Agent {
    /// Starts an agent on a host, with its state and log below `dir`, and waits until it answers.
    pub fn up(netns: &Netns, name: &str, dir: &Path) -> Result<Self> {
        let state = dir.join(format!("agent-{name}"));
        let mut agent = Self {
            process: launch(netns, name, dir, &state)?,
            netns: netns.clone(),
            logs: dir.to_owned(),
            state,
            name: name.to_owned(),
        };
        agent.wait_until_up()?;
        Ok(agent)
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills it and starts it again on the same state.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.netns, &self.name, &self.logs, &self.state)?;
        self.wait_until_up()
    }

    /// Stops it where it is, as a PC that goes to sleep does.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on after [`Agent::freeze`].
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Creates a party under this agent's name.
    pub fn host(&self, link: &str, party: &str) -> Result<Joined> {
        self.json(&["host", link, "--party", party, "--name", &self.name])
    }

    /// Joins a party under this agent's name.
    pub fn join(&self, invite: &str) -> Result<Joined> {
        self.json(&["join", invite, "--name", &self.name])
    }

    pub fn status(&self) -> Result<Status> {
        self.json(&["status"])
    }

    pub fn peers(&self) -> Result<Vec<Peer>> {
        Ok(self.json::<Peers>(&["peers"])?.peers)
    }

    /// Whether it has a session with this relay.
    pub fn is_connected_to(&self, relay: &str) -> Result<bool> {
        let relays = self.json::<Relays>(&["relays"])?.relays;
        Ok(relays.iter().any(|known| known.id == relay && known.connected))
    }

    /// The peer of this name, once it is known.
    pub fn peer(&self, name: &str) -> Result<Option<Peer>> {
        Ok(self.peers()?.into_iter().find(|peer| peer.name == name))
    }

    /// Waits until the way to the peer of this name is direct.
    pub fn wait_direct(&self, name: &str, limit: Duration) -> Result<Peer> {
        self.wait_for_path(&format!("reach {name} directly"), name, limit, Peer::is_direct)
    }

    /// Waits until the way to the peer of this name goes through a relay.
    pub fn wait_relayed(&self, name: &str, limit: Duration) -> Result<Peer> {
        self.wait_for_path(&format!("reach {name} through a relay"), name, limit, Peer::is_relayed)
    }

    /// Waits until the way to the peer of this name goes through this relay.
    pub fn wait_relayed_by(&self, relay: &str, name: &str, limit: Duration) -> Result<Peer> {
        let through = |peer: &Peer| peer.path.relay.as_deref() == Some(relay);
        self.wait_for_path(&format!("reach {name} through {relay}"), name, limit, through)
    }

    fn wait_for_path(&self, what: &str, name: &str, limit: Duration, is_so: impl Fn(&Peer) -> bool) -> Result<Peer> {
        let found = wait::until(&format!("{} to {what}", self.name), limit, || {
            self.peer(name).ok().flatten().filter(&is_so)
        });
        found.with_context(|| {
            format!(
                "{} sees {:?}; its log ends:\n{}",
                self.name,
                self.peers(),
                tail(&self.log(), 15)
            )
        })
    }

    /// Runs a command of the agent's command line, with its state directory, to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(command(&self.netns, &self.state, arguments)?, COMMAND_LIMIT)
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The name it joins under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it outlive this program.
    pub fn leave_running(self) {
        self.process.leave_running();
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let answer = self.run(&all)?;
        if answer.code != 0 {
            bail!(
                "`lanrage {}` on {} said: {}",
                arguments[0],
                self.name,
                answer.stderr.trim()
            );
        }
        serde_json::from_str(&answer.stdout)
            .with_context(|| format!("`lanrage {} --json` printed {:?}", arguments[0], answer.stdout))
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let (netns, state) = (self.netns.clone(), self.state.clone());
        let socket = state.join("agent.sock");
        wait::until("the agent to answer", START_LIMIT, || {
            if let Some(why) = self.process.died() {
                return Some(Err(why));
            }
            if !socket.exists() {
                return None;
            }
            let status =
                command(&netns, &state, &["--json", "status"]).and_then(|ask| process::run(ask, COMMAND_LIMIT));
            status.is_ok_and(|status| status.code == 0).then_some(Ok(()))
        })?
    }
}

/// A command of the agent's command line on a host.
pub fn command(netns: &Netns, state: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut command = netns.command(bins::find("lanrage")?);
    command.arg("--state-dir").arg(state).args(arguments);
    Ok(command)
}

fn launch(netns: &Netns, name: &str, logs: &Path, state: &Path) -> Result<Process> {
    Process::spawn(
        command(netns, state, &["up", "--foreground"])?,
        &format!("agent-{name}"),
        logs,
    )
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
