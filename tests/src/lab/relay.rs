//! The real stand-alone relay, in the lab.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bins;
use super::control::Control;
use super::netns::Netns;
use super::process::Process;
use super::wait;

/// What a relay logs when the control server has taken it.
const REGISTERED: &str = "registered control=";
const START_LIMIT: Duration = Duration::from_secs(20);
/// A relay that drains waits for its members, but not for ever.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// A running relay that is registered with the control server.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    place: Place,
}

/// What it is started with.
#[derive(Debug)]
struct Place {
    netns: Netns,
    name: String,
    address: Ipv4Addr,
    port: u16,
    control: String,
    token: PathBuf,
    dir: PathBuf,
}

impl Relay {
    /// Starts a relay on `netns`, whose address is `address`, and waits until the control server has it. Relays of one host
    /// need ports of their own.
    pub fn start(
        control: &Control,
        netns: &Netns,
        address: Ipv4Addr,
        port: u16,
        name: &str,
        dir: &Path,
    ) -> Result<Self> {
        let token = dir.join("register-token");
        let mut options = fs::File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&token)?;
        file.write_all(control.relay_token()?.as_bytes())?;
        let place = Place {
            netns: netns.clone(),
            name: name.to_owned(),
            address,
            port,
            control: control.link.clone(),
            token,
            dir: dir.to_owned(),
        };
        let mut relay = Self {
            process: place.launch()?,
            place,
        };
        relay.wait_until_registered(0)?;
        Ok(relay)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop, and waits until its members have moved and it has ended.
    pub fn drain(&mut self) -> Result<ExitStatus> {
        self.process.terminate(DRAIN_LIMIT)
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        let before = self.registrations();
        self.process = self.place.launch()?;
        self.wait_until_registered(before)
    }

    /// How many hellos it refused for this reason since it was started last; the names are its metrics'.
    pub fn refused(&self, reason: &str) -> Result<u64> {
        let metrics = self.place.metrics()?;
        let name = format!("lanrage_relay_handshakes_total{{outcome=\"{reason}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let value = value.with_context(|| format!("no {reason:?} in the relay's metrics:\n{metrics}"))?;
        Ok(value.trim().parse()?)
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn registrations(&self) -> usize {
        self.process.log().matches(REGISTERED).count()
    }

    fn wait_until_registered(&mut self, before: usize) -> Result<()> {
        let what = format!("the relay {} to register", self.place.name);
        wait::until(&what, START_LIMIT, || {
            (self.registrations() > before)
                .then_some(Ok(()))
                .or_else(|| self.process.died().map(Err))
        })?
    }
}

impl Place {
    fn metrics_port(&self) -> u16 {
        self.port + 3000
    }

    fn metrics(&self) -> Result<String> {
        let at = (Ipv4Addr::LOCALHOST, self.metrics_port());
        let mut stream = self.netns.within(|| TcpStream::connect(at))??;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn launch(&self) -> Result<Process> {
        let mut command = self.netns.command(bins::find("lanrage-relay")?);
        let port = self.port;
        command
            .args([
                "serve",
                "--control",
                &self.control,
                "--name",
                &self.name,
                "--region",
                "lab",
            ])
            .args(["--public-address", &format!("{}:{port}", self.address)])
            .args(["--port", &port.to_string()])
            // Beside the relay's own, so that relays of one host do not meet.
            .args(["--stun-port", &(port + 1000).to_string()])
            .args(["--stun-second-port", &(port + 2000).to_string()])
            .args(["--metrics-listen", &format!("127.0.0.1:{}", self.metrics_port())])
            .arg("--register-token-file")
            .arg(&self.token)
            .arg("--data-dir")
            .arg(self.dir.join(format!("relay-{}", self.name)));
        Process::spawn(command, &format!("relay-{}", self.name), &self.dir)
    }
}
