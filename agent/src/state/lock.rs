//! One agent per state directory. The lock ends with the process, however it ends, so nothing has to be cleaned up.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StateError;
use super::sealed::write_private;
use crate::platform::{give_to_owner_of_directory, open_private};

const LOCK_FILE: &str = "lock";
/// Apart from the lock itself: Windows lets nobody read a locked file.
const PID_FILE: &str = "agent.pid";

/// A killed agent's lock ends when the system has torn the process down, TUN device and all; who asks [`is_in_use`] holds
/// it for a moment.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The exclusive right to a state directory.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    pid: PathBuf,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(LOCK_FILE);
        let file = open(dir).map_err(StateError::io("open", &path))?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if Instant::now() < deadline => std::thread::sleep(BETWEEN_TRIES),
                TryLockError::WouldBlock => return Err(StateError::InUse { pid: holder(dir) }),
                TryLockError::Error(error) => return Err(StateError::io("lock", &path)(error)),
            }
        }
        let pid = dir.join(PID_FILE);
        write_private(&pid, std::process::id().to_string().as_bytes())?;
        Ok(Self { _file: file, pid })
    }
}

impl Lock {
    /// Says no longer which process has it.
    pub(super) fn forget_pid(&self) {
        // While the file is still locked: the next agent's would be another one. Gone already when the directory was removed.
        let _ = std::fs::remove_file(&self.pid);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.forget_pid();
    }
}

/// Refuses a directory that an agent runs on, without touching it.
pub fn check_free(dir: &Path) -> Result<(), StateError> {
    let deadline = Instant::now() + PATIENCE;
    while is_in_use(dir) {
        if Instant::now() >= deadline {
            return Err(StateError::InUse { pid: holder(dir) });
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    Ok(())
}

/// Whether an agent runs on this directory.
pub fn is_in_use(dir: &Path) -> bool {
    // Read-only, so that looking changes nothing.
    let Ok(file) = File::open(dir.join(LOCK_FILE)) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn open(dir: &Path) -> std::io::Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = open_private(
        OpenOptions::new().read(true).write(true).create(true).truncate(false),
        &path,
    )?;
    // Whose directory it is may ask whether an agent runs.
    give_to_owner_of_directory(&path)?;
    Ok(file)
}

fn holder(dir: &Path) -> Option<u32> {
    std::fs::read_to_string(dir.join(PID_FILE)).ok()?.trim().parse().ok()
}
