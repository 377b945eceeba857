//! One network namespace: configured with `ip` and `nft`, entered by threads and child processes.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where `ip netns` keeps the handles.
pub const RUN_DIR: &str = "/run/netns";

/// The name of a namespace that exists. Copies are cheap; the [`super::Lab`] removes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// A namespace that somebody else made.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Makes a namespace whose loopback is up and that takes no router advertisements.
    pub fn create(name: impl Into<String>) -> Result<Self> {
        let netns = Self::named(name);
        ip_batch(None, &format!("netns add {}\n", netns.name))?;
        netns.ip("link set lo up\n")?;
        netns.sysctl(&[
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
        ])?;
        Ok(netns)
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its handle.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(RUN_DIR).join(&self.name)
    }

    /// Runs lines of `ip` inside.
    pub fn ip(&self, lines: &str) -> Result<()> {
        ip_batch(Some(&self.name), lines)
    }

    /// Loads an nftables script inside.
    pub fn nft(&self, script: &str) -> Result<()> {
        let mut command = self.command("nft");
        command.args(["-f", "-"]);
        feed(command, script).with_context(|| format!("loading firewall rules in {}:\n{script}", self.name))
    }

    /// Sets kernel parameters below `/proc/sys/net`.
    pub fn sysctl(&self, parameters: &[(&str, &str)]) -> Result<()> {
        self.within(|| {
            for (key, value) in parameters {
                std::fs::write(format!("/proc/sys/net/{key}"), value)
                    .with_context(|| format!("setting {key} in {}", self.name))?;
            }
            Ok(())
        })?
    }

    /// Runs `task` on a thread inside the namespace. Sockets it opens stay there and can be used from any thread.
    pub fn within<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T> {
        let handle = self.open()?;
        let outcome = std::thread::scope(|scope| scope.spawn(|| enter(&handle).map(|()| task())).join());
        match outcome {
            Ok(entered) => entered.with_context(|| format!("entering the namespace {}", self.name)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let handle = self.open();
        // SAFETY: between fork and exec only setns(2) is called, which is async-signal-safe; nothing allocates.
        unsafe {
            command.pre_exec(move || match &handle {
                Ok(handle) => enter(handle),
                Err(_) => Err(std::io::ErrorKind::NotFound.into()),
            });
        }
        command
    }

    /// Runs a program inside to its end; its standard output. Anything but exit code 0 is an error with what it said.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self
            .command(program)
            .args(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {program} in {}", self.name))?;
        if !output.status.success() {
            bail!(
                "{program} {} in {} ended with {}: {}",
                args.join(" "),
                self.name,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("the namespace {} does not exist", self.name))
    }
}

/// Joins two namespaces with a cable.
pub fn wire(a: &Netns, a_end: &str, b: &Netns, b_end: &str) -> Result<()> {
    ip_batch(
        None,
        &format!(
            "link add {a_end} netns {} type veth peer name {b_end} netns {}\n",
            a.name, b.name
        ),
    )?;
    a.ip(&format!("link set {a_end} up\n"))?;
    b.ip(&format!("link set {b_end} up\n"))
}

fn enter(handle: &File) -> std::io::Result<()> {
    // SAFETY: setns only reads the descriptor, which `handle` keeps open.
    match unsafe { libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn ip_batch(netns: Option<&str>, lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    command.args(["-batch", "-"]);
    feed(command, lines).with_context(|| format!("running ip in {}:\n{lines}", netns.unwrap_or("the main namespace")))
}

fn feed(mut command: Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("is it installed, and are you root?")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
