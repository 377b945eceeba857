//! Starting the agent in the background, and seeing it end.
//!
//! The child tells how its start went on its standard output, a pipe of ours: one line of JSON, a [`Reply`]. A child that
//! dies closes the pipe, so no way of failing goes unnoticed. After that line it writes only to its log.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use lanrage_observe::traces::OtlpEndpoint;

use super::Context;
use crate::api::client::call;
use crate::api::{Failure, Reply, Request, StatusReport};
use crate::platform::{background_command, check_privileges, open_private};
use crate::state;

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Leaving the server and releasing port mappings takes a second or two.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked whether the agent is gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A log larger than this is put aside when the agent starts, in bytes.
const MAX_LOG: u64 = 4 * 1024 * 1024;

/// What the agent is started with.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) tun_name: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) metrics_listen: Option<SocketAddr>,
    pub(super) otlp_endpoint: Option<OtlpEndpoint>,
}

/// Starts the agent and waits until it answers.
pub(super) async fn in_background(context: &Context, options: &Options) -> Result<StatusReport, Failure> {
    check_privileges().map_err(|sentence| Failure::new("no_privileges", sentence))?;
    state::prepare(&context.state_dir)?;
    state::check_free(&context.state_dir)?;
    let log = log_path(&context.state_dir);
    let log_file = open_log(&log).map_err(|error| {
        let sentence = format!("the log {} cannot be written: {error}", log.display());
        Failure::new("state_unavailable", sentence)
    })?;
    let mut child = spawn(&context.state_dir, options, log_file)
        .map_err(|error| Failure::new("start_failed", format!("the agent cannot be started: {error}")))?;
    let started = match child.stdout.take() {
        Some(stdout) => first_line(stdout).await,
        None => Started::Ended,
    };
    let what = match started {
        Started::Said(line) => match serde_json::from_str(&line) {
            Ok(Reply::Done(_)) => return status(context).await,
            Ok(Reply::Failed(failure)) => return Err(failure),
            _ => "the agent said something strange while it was starting",
        },
        Started::Ended => "the agent ended while it was starting",
        Started::Silent => "the agent did not start within 10 s and was stopped",
    };
    // Harmless if it is dead already; a half-started agent must not stay.
    let _ = child.kill();
    Err(Failure::new(
        "start_failed",
        format!("{what}; {} says why", log.display()),
    ))
}

/// What the child says about its start.
pub(super) fn report_start(reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    // The parent may have given up on us; then we are about to be killed.
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
}

/// Waits until no agent has the state directory any more.
pub(super) async fn wait_until_gone(state_dir: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + END_TIMEOUT;
    while state::is_in_use(state_dir) {
        if Instant::now() > deadline {
            let sentence = "the agent has not ended within 15 s; it may still be telling the server, so look again with `lanrage status`";
            return Err(Failure::new("still_running", sentence));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn spawn(state_dir: &Path, options: &Options, log: File) -> io::Result<Child> {
    let mut args: Vec<OsString> = vec![
        "up".into(),
        "--foreground".into(),
        "--report-start".into(),
        "--state-dir".into(),
        state_dir.into(),
    ];
    if let Some(name) = &options.tun_name {
        args.extend(["--tun-name".into(), name.into()]);
    }
    if let Some(port) = options.port {
        args.extend(["--port".into(), port.to_string().into()]);
    }
    if let Some(address) = options.metrics_listen {
        args.extend(["--metrics-listen".into(), address.to_string().into()]);
    }
    if let Some(collector) = &options.otlp_endpoint {
        args.extend(["--otlp-endpoint".into(), collector.to_string().into()]);
    }
    background_command()?
        .args(args)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
}

enum Started {
    Said(String),
    Ended,
    Silent,
}

/// What the child says first.
async fn first_line(stdout: ChildStdout) -> Started {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread, because a pipe cannot be read with a time limit on every system; it ends with the child.
    std::thread::spawn(move || {
        let mut line = String::new();
        let said = BufReader::new(stdout)
            .read_line(&mut line)
            .is_ok_and(|length| length > 0);
        // Nobody listens any more when it took too long.
        let _ = sender.send(if said { Started::Said(line) } else { Started::Ended });
    });
    match tokio::time::timeout(START_TIMEOUT, receiver).await {
        Ok(started) => started.unwrap_or(Started::Ended),
        Err(_) => Started::Silent,
    }
}

async fn status(context: &Context) -> Result<StatusReport, Failure> {
    let answer = call(&context.state_dir, &Request::Status, |_| ()).await?;
    serde_json::from_value(answer).map_err(|error| Failure::new("agent_version", error.to_string()))
}

fn log_path(state_dir: &Path) -> PathBuf {
    state_dir.join("agent.log")
}

fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    open_private(OpenOptions::new().append(true).create(true), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_put_aside_and_a_small_one_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_path(dir.path());
        writeln!(open_log(&log).unwrap(), "first").unwrap();
        writeln!(open_log(&log).unwrap(), "second").unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\nsecond\n");

        std::fs::write(&log, vec![b'x'; MAX_LOG as usize + 1]).unwrap();
        open_log(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
        assert_eq!(
            std::fs::metadata(dir.path().join("agent.log.1")).unwrap().len(),
            MAX_LOG + 1
        );
    }

    #[tokio::test]
    async fn a_directory_nobody_uses_is_free_at_once() {
        let dir = tempfile::tempdir().unwrap();
        wait_until_gone(dir.path()).await.unwrap();
    }
}
