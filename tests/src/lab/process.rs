//! Programs that run in a namespace while a test looks on.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::wait;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

/// How a program that was run to its end ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 + signal when a signal ended it, as shells count.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command` with what it prints going to `<dir>/<name>.log`.
    pub fn spawn(mut command: Command, name: &str, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child: Some(child),
            log,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has printed `text`.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{} to print {text:?}", self.name);
        wait::until(&what, limit, || {
            self.log()
                .contains(text)
                .then_some(Ok(()))
                .or_else(|| self.died().map(Err))
        })?
    }

    /// Why it is no longer running, if it is not.
    pub fn died(&mut self) -> Option<anyhow::Error> {
        let status = self.exit_status()?;
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(10).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Some(anyhow::anyhow!(
            "{} ended ({status}); its last words:\n{}",
            self.name,
            tail.join("\n")
        ))
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.end_by(libc::SIGTERM, limit)
    }

    /// As [`Process::terminate`], by what Ctrl-C sends (SIGINT).
    pub fn interrupt(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.end_by(libc::SIGINT, limit)
    }

    fn end_by(&mut self, signal: libc::c_int, limit: Duration) -> Result<ExitStatus> {
        self.signal(signal);
        let what = format!("{} to end after signal {signal}", self.name);
        wait::until(&what, limit, || self.exit_status())
    }

    /// Kills it without warning (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it is (SIGSTOP), as a PC that goes to sleep does.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it go on after [`Process::freeze`].
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Lets it outlive this program.
    pub fn leave_running(mut self) {
        self.child = None;
    }

    fn signal(&self, signal: libc::c_int) {
        if let Some(Ok(pid)) = self.child.as_ref().map(|child| libc::pid_t::try_from(child.id())) {
            // SAFETY: plain system call; the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end; killed when it takes longer than `limit`.
pub fn run(mut command: Command, limit: Duration) -> Result<Finished> {
    let out = tempfile::tempfile()?;
    let err = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let what = format!("{} to end", command.get_program().display());
    let ended = wait::until(&what, limit, || child.try_wait().ok().flatten());
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = ended?;
    Ok(Finished {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: contents(out)?,
        stderr: contents(err)?,
    })
}

fn contents(mut file: File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
