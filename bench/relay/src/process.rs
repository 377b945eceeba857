//! A server's process: what it uses, and that it ends.

use std::process::{Child, Command};

use anyhow::{Context, Result};

/// Clock ticks in a second, as Linux reports CPU time to programs.
const TICKS_PER_S: f64 = 100.0;

/// A process that runs until this is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program:?}"))?;
        Ok(Self(child))
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// CPU time it has used, in seconds: its own and the kernel's on its behalf.
    pub fn cpu_s(&self) -> Result<f64> {
        cpu_s_of(self.0.id())
    }

    /// Memory it holds (`VmRSS`), or held at most (`VmHWM`), in KiB. What the kernel holds for its sockets is not in it.
    pub fn memory_kib(&self, which: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
        Ok(line
            .context("a process has memory")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time this process has used, in seconds.
pub fn own_cpu_s() -> Result<f64> {
    cpu_s_of(std::process::id())
}

fn cpu_s_of(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Field 2 is the name in brackets, which may hold spaces; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
}
