//! What the measurement needs of the machine: a core of its own for the server, and sockets enough.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Files a process has open beside its sessions: runtime, libraries, pipes.
const OTHER_FILES: u64 = 200;

/// Keeps this thread, and those it starts, off the last core it may use, and names that one. None when there is only one.
pub fn leave_one_core() -> Result<Option<usize>> {
    let mut cores = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core));
    let Some(last) = last.filter(|_| cores.count() > 1) else {
        return Ok(None);
    };
    cores.unset(last);
    sched_setaffinity(None, &cores)?;
    Ok(Some(last))
}

/// Makes this process a server's: on this core, if on any, and gone when the one that measures it is.
pub fn be_a_server(core: Option<usize>) -> Result<()> {
    if let Some(core) = core {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
    }
    Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
}

/// Lets this process, and those it starts, open as many files as this many pairs need: a socket per end here, and up to two per
/// pair in a server.
pub fn allow_sockets(pairs: u64) -> Result<()> {
    let needed = 2 * pairs + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        bail!("{pairs} pairs need {needed} open files; raise the limit (ulimit -Hn) or ask for fewer with --pairs");
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
