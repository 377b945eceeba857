//! The state directory: what an agent must still know after a restart.
//!
//! | file | holds |
//! |---|---|
//! | `lock`, `agent.pid` | one agent per directory: a file lock, and who has it |
//! | `identity.json` | the device's two private keys; made once, never replaced |
//! | `device` | the device's id: a directory with this file has had an identity, and this one |
//! | `party.json` | the party as last seen, with the ways into it, signed by the device's identity key |
//! | `farewells.json` | servers that do not know yet that this device has left a party |
//! | `settings.json` | what the user has set: what is bridged besides known games, which servers are watched |
//!
//! Each `.json` file is sealed with a checksum ([`sealed`]) and kept twice (`….last`), so a torn write is noticed and undone.
//! What was repaired is told in words by [`StateDir::take_notices`]. What cannot be repaired is an error: losing the
//! identity means being a stranger to the party, so a new one is made only in a directory that never had one.

mod farewells;
mod identity;
mod lock;
mod party;
mod sealed;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use farewells::Farewell;
pub use identity::Identity;
use lock::Lock;
pub use lock::{check_free, is_in_use};
#[cfg(test)]
pub(crate) use party::tests::cache as example_party;
pub use party::{DrawnSecret, OwnInvite, PartyCache};
pub use settings::{LanSettings, Settings};

use crate::api::Failure;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "an agent is already running on this state directory{}; use `lanrage status`, or --state-dir for a second one",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { pid: Option<u32> },
    #[error("the state directory {path} {why}")]
    Unsafe { path: PathBuf, why: String },
    #[error("cannot {action} {path}: {source}; check that the disk is not full and that you may write there")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{0} and its copy are damaged; put them back from a backup, or delete them and join the party again with an invite"
    )]
    PartyDamaged(PathBuf),
    #[error(
        "{0} and its copy are damaged; put them back from a backup, or delete the whole directory to start as a new device"
    )]
    IdentityDamaged(PathBuf),
    #[error(
        "{0} is missing although this device had one; put it back from a backup, or delete the whole directory to start as a new device"
    )]
    IdentityMissing(PathBuf),
    #[error(
        "{0} holds another device's keys and this device's own are gone; put them back from a backup, or delete the whole directory to start as a new device"
    )]
    IdentityForeign(PathBuf),
    #[error("{0} and its copy hold the keys of two devices; delete the file that is not this device's")]
    IdentitiesDiffer(PathBuf),
    #[error("no random numbers from the operating system: {0}")]
    NoRandomness(String),
}

impl StateError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// The stable code for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "already_running",
            Self::Unsafe { .. } => "state_unsafe",
            Self::Io { .. } => "state_unavailable",
            Self::PartyDamaged(_) | Self::IdentityDamaged(_) => "state_damaged",
            Self::IdentityMissing(_) => "identity_missing",
            Self::IdentityForeign(_) | Self::IdentitiesDiffer(_) => "identity_foreign",
            Self::NoRandomness(_) => "no_randomness",
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// An open state directory. While it lives, no other agent can open the same one.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    identity: Identity,
    notices: Mutex<Vec<String>>,
    lock: Hold,
}

/// Keeps other agents off a state directory while it lives, even when the [`StateDir`] itself is gone: an agent that is
/// still closing its sockets is still running.
#[derive(Debug, Clone)]
pub struct Hold {
    lock: Arc<Lock>,
}

impl Hold {
    /// The directory is free when the process has ended, and none of its threads is left.
    pub fn keep_to_the_end(self) {
        self.lock.forget_pid();
        std::mem::forget(self);
    }
}

impl StateDir {
    /// Opens the directory for the one agent that may use it, and loads the device's identity. A directory that is not
    /// there is made (0700), an identity only where there never was one.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        prepare(path)?;
        let lock = Lock::take(path)?;
        let mut notices = Vec::new();
        let identity = Identity::load_or_create(path, &mut notices)?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            notices: Mutex::new(notices),
            lock: Hold { lock: Arc::new(lock) },
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This device's keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The party this device was in when it was last saved; none after [`StateDir::clear_party`] or when the file is another
    /// device's (which is reported and set aside as `party.json.foreign`).
    pub fn load_party(&self) -> Result<Option<PartyCache>, StateError> {
        let mut notices = Vec::new();
        let loaded = party::load(&self.path, &self.identity, &mut notices);
        self.lock_notices().append(&mut notices);
        loaded
    }

    /// Keeps the party. When this fails (disk full), what was kept before is still there.
    pub fn save_party(&self, cache: &PartyCache) -> Result<(), StateError> {
        party::save(&self.path, &self.identity, cache)
    }

    /// Forgets the party.
    pub fn clear_party(&self) -> Result<(), StateError> {
        sealed::remove(&self.path, party::FILE)
    }

    /// Servers that have to be told that this device has left a party.
    pub fn load_farewells(&self) -> Result<Vec<Farewell>, StateError> {
        farewells::load(&self.path)
    }

    /// Keeps what still has to be said.
    pub fn save_farewells(&self, farewells: &[Farewell]) -> Result<(), StateError> {
        farewells::save(&self.path, farewells)
    }

    /// What the user has set.
    pub fn load_settings(&self) -> Result<Settings, StateError> {
        let mut notices = Vec::new();
        let loaded = settings::load(&self.path, &mut notices);
        self.lock_notices().append(&mut notices);
        loaded
    }

    /// Keeps what the user has set.
    pub fn save_settings(&self, settings: &Settings) -> Result<(), StateError> {
        settings::save(&self.path, settings)
    }

    /// A hold on the directory for as long as the agent runs.
    pub fn hold(&self) -> Hold {
        self.lock.clone()
    }

    /// What was repaired since the last call, one sentence each, for the user to know.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock_notices())
    }

    fn lock_notices(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the directory (0700) if it is not there, and refuses one in which others could swap our files. An
/// existing directory keeps its mode, which may be somebody's choice; the files in it are 0600 either way.
pub fn prepare(path: &Path) -> Result<(), StateError> {
    if !path.is_dir() {
        std::fs::create_dir_all(path).map_err(StateError::io("create the state directory", path))?;
        crate::platform::restrict_to_owner(path).map_err(StateError::io("protect the state directory", path))?;
    }
    crate::platform::check_directory(path)
        .map_err(StateError::io("read the state directory", path))?
        .map_err(|why| StateError::Unsafe {
            path: path.to_owned(),
            why,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_on_the_same_directory_is_refused_with_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        let second = StateDir::open(dir.path()).unwrap_err();
        assert!(
            second.to_string().contains(&format!("(pid {})", std::process::id())),
            "{second}"
        );
        assert!(is_in_use(dir.path()));
        let hold = first.hold();
        drop(first);
        assert!(is_in_use(dir.path()) && dir.path().join("agent.pid").exists());
        drop(hold);
        assert!(!is_in_use(dir.path()) && !dir.path().join("agent.pid").exists());
        StateDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_missing_directory_is_made_with_everything_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.take_notices(), Vec::<String>::new());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o700);
            assert_eq!(mode(&path.join("identity.json")), 0o600);
            assert_eq!(mode(&path.join("identity.json.last")), 0o600);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(StateError::Unsafe { .. })));
    }

    #[test]
    fn a_file_where_the_directory_should_be_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = StateDir::open(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
