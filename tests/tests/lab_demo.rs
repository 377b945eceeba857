//! The demo, as scripts/demo runs it: it shows what it promises, and nothing stays, also when it is interrupted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use lanrage_tests::lab::process::{self, Process};
use lanrage_tests::lab::{Lab, Netns, sweep, wait};

/// What everything of the demo is called.
const PREFIX: &str = "lrdemo-";
const LIMIT: Duration = Duration::from_secs(60);

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanrage-lab"));
    command.arg("demo");
    command
}

/// The demo's processes. They are its children, so they are looked for where they live.
fn processes() -> Vec<libc::pid_t> {
    let namespaces = sweep::existing(PREFIX).into_iter().map(Netns::named);
    namespaces.flat_map(|netns| sweep::processes_in(&netns)).collect()
}

/// Neither namespaces, with the interfaces in them, nor directories of the demo.
fn check_nothing_stays() -> Result<()> {
    let namespaces = sweep::existing(PREFIX);
    ensure!(namespaces.is_empty(), "{namespaces:?} stayed");
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        ensure!(
            !name.to_string_lossy().starts_with("lanrage-lrdemo-"),
            "{name:?} stayed"
        );
    }
    Ok(())
}

#[test]
fn the_demo_shows_a_direct_path_and_cleans_up() -> Result<()> {
    // Also says when the lab is turned off.
    if Lab::for_test()?.is_none() {
        return Ok(());
    }
    let finished = process::run(demo(), LIMIT)?;
    ensure!(finished.code == 0, "{finished:?}");
    for part in [
        "What happened",
        "port-restricted, seen from outside as 203.0.113.",
        "direct, to 203.0.113.",
        "Join to first packet",
        "Round trip in the tunnel",
        "Mbit/s back",
    ] {
        ensure!(finished.stdout.contains(part), "no {part:?} in:\n{}", finished.stdout);
    }
    check_nothing_stays()
}

#[test]
fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    let Some(lab) = Lab::for_test()? else { return Ok(()) };
    let mut demo = Process::spawn(demo(), "demo", lab.dir())?;
    demo.wait_for_line("Ben joins it", LIMIT)?;
    let running = processes();
    // The server, two agents, and the links' delays.
    ensure!(running.len() >= 5, "{running:?}");
    let status = demo.interrupt(Duration::from_secs(10))?;
    ensure!(status.code() == Some(130), "{status}");
    check_nothing_stays()?;
    // A process that has ended and nobody has waited for has no program any more.
    let runs = |pid: &libc::pid_t| fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).is_ok();
    wait::until("all its processes to end", Duration::from_secs(5), || {
        (!running.iter().any(runs)).then_some(())
    })
}
