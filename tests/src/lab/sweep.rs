//! Removing namespaces and everything that runs in them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::netns::{Netns, RUN_DIR};

/// Namespaces of a lab begin with this, the process id of their owner and `x`; see [`owned_prefix`].
const OWNED: &str = "lr";

/// Directories of a lab, in the system's place for temporary files, begin with this and the lab's prefix.
const DIRECTORY: &str = "lanrage-";
/// Prefixes of the labs of this process that nobody removed yet.
static STANDING: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The prefix of the `count`th lab of this process.
pub fn owned_prefix(count: u32) -> String {
    format!("{OWNED}{}x{count}-", std::process::id())
}

/// Removes what labs of processes that no longer exist left behind.
pub fn sweep_dead() {
    let dead = |name: &str| owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists());
    remove_where(dead);
}

/// Removes every namespace whose name begins with `prefix`, ends the processes in them, and deletes the lab's directory.
pub fn remove(prefix: &str) {
    remove_where(|name| name.starts_with(prefix));
}

/// Remembers a lab that must not outlive this process.
pub(super) fn watch(prefix: &str) {
    standing().push(prefix.to_owned());
}

/// Forgets a lab that is gone or meant to stay.
pub(super) fn forget(prefix: &str) {
    standing().retain(|known| known != prefix);
}

/// Removes every lab this process has standing: for when it is told to end in the middle.
pub fn abandon() {
    for prefix in std::mem::take(&mut *standing()) {
        remove(&prefix);
    }
}

/// The first part of the name of a lab's directory.
pub(super) fn directory_name(prefix: &str) -> String {
    format!("{DIRECTORY}{prefix}")
}

fn standing() -> MutexGuard<'static, Vec<String>> {
    STANDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes that run in a namespace, this one excepted.
pub fn processes_in(netns: &Netns) -> Vec<libc::pid_t> {
    let handle = fs::metadata(netns.path()).map(|handle| handle.ino());
    inhabitants(&handle.into_iter().collect())
}

/// Names of the namespaces that begin with `prefix`.
pub fn existing(prefix: &str) -> Vec<String> {
    names().into_iter().filter(|name| name.starts_with(prefix)).collect()
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(OWNED)?.split_once('x')?.0.parse().ok()
}

fn names() -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(RUN_DIR) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn remove_where(chosen: impl Fn(&str) -> bool) {
    let doomed: Vec<String> = names().into_iter().filter(|name| chosen(name)).collect();
    let inodes: BTreeSet<u64> = doomed
        .iter()
        .filter_map(|name| fs::metadata(Path::new(RUN_DIR).join(name)).ok())
        .map(|handle| handle.ino())
        .collect();
    for pid in inhabitants(&inodes) {
        // SAFETY: plain system call. The process lives in a namespace this lab made, so it is one that was started in it.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    for name in doomed {
        // Nothing to be done about a failure here; the next lab sweeps again.
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(DIRECTORY))
            .is_some_and(&chosen)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Processes whose network namespace is one of `inodes`, this one excepted.
fn inhabitants(inodes: &BTreeSet<u64>) -> Vec<libc::pid_t> {
    if inodes.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<libc::pid_t>().ok())
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != std::process::id()))
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|net| inodes.contains(&net.ino())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_recognised_by_its_owner() {
        assert_eq!(owner(&(owned_prefix(3) + "r1")), Some(std::process::id()));
        assert_eq!(owner("lrdemo-r1"), None);
        assert_eq!(owner("home"), None);
    }
}
