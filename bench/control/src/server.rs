//! The control server that is loaded: the real program, in a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tls::identity::{FILE as IDENTITY_FILE, ServerIdentity};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::http::Target;
use crate::process::Process;

/// Longest a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub database: Option<String>,
    pub redis: Option<String>,
    /// The lines of `[limits]` that differ from the server's defaults.
    pub limits: Vec<String>,
    /// How far its clock is from the true time, in seconds.
    pub skew_s: i64,
}

/// A server that runs until this is dropped.
pub struct ControlServer {
    pub process: Process,
    pub target: Target,
    admin: SocketAddr,
    setup: Setup,
    dir: TempDir,
}

impl ControlServer {
    pub async fn start(setup: Setup) -> Result<Self> {
        Self::start_in(setup, tempfile::tempdir()?).await
    }

    /// Another server on the same database.
    pub async fn replica(&self) -> Result<Self> {
        self.replica_with(self.setup.clone()).await
    }

    /// The same, started with something else.
    pub async fn replica_with(&self, setup: Setup) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::copy(self.dir.path().join(IDENTITY_FILE), dir.path().join(IDENTITY_FILE))?;
        Self::start_in(setup, dir).await
    }

    async fn start_in(setup: Setup, dir: TempDir) -> Result<Self> {
        let limits = setup.limits.join("\n");
        fs::write(dir.path().join("control.toml"), format!("[limits]\n{limits}\n"))?;
        let target = Target::new(free_address()?, ServerIdentity::open(dir.path())?.pin);
        let admin = free_address()?;
        let server = Self {
            process: Process::start(&mut command(&setup, &dir, &target, admin)?)?,
            target,
            admin,
            setup,
            dir,
        };
        server.answers().await?;
        Ok(server)
    }

    /// SIGKILL, and the same again on the same data.
    pub async fn kill_and_start(&mut self) -> Result<()> {
        self.process.child().kill()?;
        self.process.child().wait()?;
        self.process = Process::start(&mut command(&self.setup, &self.dir, &self.target, self.admin)?)?;
        self.answers().await
    }

    async fn answers(&self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.target.address).await.is_err() {
            ensure!(began.elapsed() < PATIENCE, "the server does not start");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// What its metrics of this name, with this in their labels, add up to.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let values = answer.lines().filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let rest = metric.strip_prefix(name)?;
            let is_this = rest.is_empty() || rest.starts_with('{');
            (is_this && rest.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }
}

fn command(setup: &Setup, dir: &TempDir, target: &Target, admin: SocketAddr) -> Result<Command> {
    let mut command = Command::new(program()?);
    if setup.skew_s != 0 {
        // Only the time of day is another: waiting takes as long as it takes. The loader knows where libraries are.
        command
            .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1")
            .env("FAKETIME", format!("{:+}s", setup.skew_s))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command
        .arg("serve")
        .arg("--config")
        .arg(dir.path().join("control.toml"))
        .arg("--data-dir")
        .arg(dir.path())
        .args(["--listen", &target.address.to_string()])
        .args(["--admin-listen", &admin.to_string()])
        .env("LANRAGE_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(url) = &setup.database {
        command.args(["--database-url", url]);
    }
    if let Some(url) = &setup.redis {
        command.args(["--redis-url", url]);
    }
    Ok(command)
}

/// The program beside this one: built with the same profile.
fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("lanrage-control");
    ensure!(
        program.exists(),
        "{} is missing: use scripts/bench-control",
        program.display()
    );
    Ok(program)
}

/// Free a moment ago is as good as it gets: a server that starts again needs the same one.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("loopback has a free port")?;
    Ok(listener.local_addr()?)
}
