//! The relay's process, and what it uses.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use lanrage_relay_client::Target;

/// Clock ticks in a second, as Linux reports CPU time to programs.
const TICKS_PER_S: f64 = 100.0;

/// A relay that runs until this is dropped.
pub struct Relay {
    child: Child,
    pub target: Target,
}

impl Relay {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (port, pin) = line.trim().split_once(' ').context("it did not start")?;
        Ok(Self {
            target: Target {
                address: (Ipv4Addr::LOCALHOST, port.parse()?).into(),
                pin: pin.parse()?,
            },
            child,
        })
    }

    /// CPU time it has used, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Field 2 is the name in brackets, which may hold spaces; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
    }

    /// Memory it holds, in KiB.
    pub fn resident_kib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line
            .context("a process has memory")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It ends with its standard input; this is for one that hangs.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
