//! The real control server, in the lab.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::address::SERVER;
use super::bins;
use super::netns::Netns;
use super::process::{self, Process};
use super::wait;

/// Its TCP port.
pub const PORT: u16 = 8443;
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running control server with its relay services.
#[derive(Debug)]
pub struct Control {
    process: Process,
    netns: Netns,
    logs: PathBuf,
    data: PathBuf,
    /// What agents host with.
    pub link: String,
}

impl Control {
    /// Starts `lanrage-control serve` on the lab's server, with its data and log below `dir`.
    pub fn start(netns: &Netns, dir: &Path) -> Result<Self> {
        let data = dir.join("control");
        let mut control = Self {
            process: launch(netns, dir, &data, None)?,
            netns: netns.clone(),
            logs: dir.to_owned(),
            data,
            link: String::new(),
        };
        control.wait_until_listening()?;
        control.link = control.ask_link()?;
        Ok(control)
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(None)
    }

    /// Starts it again with its clock moved, see [`super::clock`].
    pub fn restart_with_clock(&mut self, clock: &Path) -> Result<()> {
        self.restart_with(Some(clock))
    }

    fn restart_with(&mut self, clock: Option<&Path>) -> Result<()> {
        self.process.kill();
        self.process = launch(&self.netns, &self.logs, &self.data, clock)?;
        self.wait_until_listening()
    }

    /// What relays register with.
    pub fn relay_token(&self) -> Result<String> {
        let answer = process::run(self.command("relay-token")?, START_LIMIT)?;
        ensure!(
            answer.code == 0,
            "`lanrage-control relay-token`: {}",
            answer.stderr.trim()
        );
        Ok(answer.stdout.trim().to_owned())
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Lets it outlive this program.
    pub fn leave_running(self) {
        self.process.leave_running();
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let netns = self.netns.clone();
        wait::until("the control server to listen", START_LIMIT, || {
            if let Some(why) = self.process.died() {
                return Some(Err(why));
            }
            let connected = netns.within(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_ok());
            connected.is_ok_and(|connected| connected).then_some(Ok(()))
        })?
    }

    /// The server writes its address down just after it begins to listen.
    fn ask_link(&self) -> Result<String> {
        wait::until("`lanrage-control link` to print the link", START_LIMIT, || {
            let answer = process::run(self.command("link").ok()?, START_LIMIT).ok()?;
            let link = answer.stdout.trim();
            link.starts_with("lanrage://").then(|| link.to_owned())
        })
    }

    /// A command of its command line that looks at its data.
    fn command(&self, what: &str) -> Result<Command> {
        let mut command = self.netns.command(bins::find("lanrage-control")?);
        command.arg(what).arg("--data-dir").arg(&self.data);
        Ok(command)
    }
}

fn launch(netns: &Netns, logs: &Path, data: &Path, clock: Option<&Path>) -> Result<Process> {
    let mut command = netns.command(bins::find("lanrage-control")?);
    command
        .arg("serve")
        .args(["--listen", &format!("0.0.0.0:{PORT}")])
        .args([
            "--public-address",
            &format!("{SERVER}:{PORT}"),
            "--with-relay",
            "--data-dir",
        ])
        .arg(data);
    if let Some(clock) = clock {
        command.env("LD_PRELOAD", clock);
    }
    Process::spawn(command, "control", logs)
}
