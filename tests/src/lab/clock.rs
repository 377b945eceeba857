//! Programs that believe it is another time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A library for `LD_PRELOAD` that moves the wall clock of the program it is loaded into by `seconds`; time spans stay true.
pub fn moved_by(seconds: i64, dir: &Path) -> Result<PathBuf> {
    let (source, library) = (
        dir.join(format!("clock{seconds}.c")),
        dir.join(format!("clock{seconds}.so")),
    );
    let text = format!(
        "#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {{
  long outcome = syscall(SYS_clock_gettime, clock, now);
  if (outcome == 0 && clock == CLOCK_REALTIME) now->tv_sec += {seconds};
  return (int)outcome;
}}
"
    );
    fs::write(&source, text)?;
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    ensure!(
        compiler.context("a moved clock needs `cc`")?.success(),
        "cc could not build the moved clock"
    );
    Ok(library)
}
