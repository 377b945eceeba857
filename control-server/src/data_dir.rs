//! The directory the server keeps its identity, its database and its public address in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lanrage_shared::invite::host_port;
use lanrage_tls::file::replace;
use tempfile::NamedTempFile;

use crate::operator_token::RELAY_TOKEN_FILE;
use crate::tls::IDENTITY_FILE;

/// The SQLite file.
pub(crate) const DATABASE: &str = "control.sqlite3";
const PUBLIC_ADDRESS: &str = "public-address";
const ADMIN_ADDRESS: &str = "admin-address";
const LOCK: &str = "lock";
/// What has to be kept beside the database, so that a server set up anew is the same to agents and relays.
pub(crate) const KEPT_BESIDE: [&str; 3] = [IDENTITY_FILE, RELAY_TOKEN_FILE, PUBLIC_ADDRESS];

/// A data directory that exists.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// The right to serve from a data directory.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Keeps other servers away from an SQLite file wherever it is, for as long as the lock lives.
pub fn lock_database(file: &Path) -> Result<DataDirLock, DataDirError> {
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    let file = file.to_owned();
    lock_file(Path::new(&lock)).map_err(|error| match error {
        TryLockError::WouldBlock => DataDirError::DatabaseInUse { file },
        TryLockError::Error(why) => DataDirError::DatabaseUnwritable { file, why },
    })
}

/// Made when there is none. It ends with the process, however that ends.
fn lock_file(file: &Path) -> Result<DataDirLock, TryLockError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(file).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(DataDirLock { _file: file })
}

/// Why the directory does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot write to the data directory {dir} ({why}): make it writable, or name another with --data-dir")]
    Unwritable { dir: PathBuf, why: io::Error },
    #[error("the data directory {dir} is not this user's: repeat this with sudo, or name another with --data-dir")]
    Forbidden { dir: PathBuf },
    #[error(
        "no server has run on the data directory {dir} yet: start `lanrage-control serve`, or name its directory with --data-dir"
    )]
    NeverServed { dir: PathBuf },
    #[error(
        "another lanrage-control serves from the data directory {dir}: stop it, or name another directory with --data-dir"
    )]
    InUse { dir: PathBuf },
    #[error(
        "another lanrage-control serves from the SQLite database {file}, which takes one at a time: stop it, or let both use a PostgreSQL"
    )]
    DatabaseInUse { file: PathBuf },
    #[error("cannot write beside the SQLite database {file} ({why}): make its directory writable")]
    DatabaseUnwritable { file: PathBuf, why: io::Error },
    #[error("{file} does not hold an address host:port: remove it, or pass --public-address HOST:PORT")]
    BadAddress { file: PathBuf },
}

impl DataDir {
    /// Makes the directory, for its owner only, when there is none, and tries whether it can be written.
    pub fn open(dir: &Path) -> Result<Self, DataDirError> {
        let this = Self(dir.to_owned());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .and_then(|()| NamedTempFile::new_in(dir))
            .map_err(|why| this.unwritable(why))?;
        Ok(this)
    }

    /// The directory a server has run on, only to be read from.
    pub fn of_server(dir: &Path) -> Result<Self, DataDirError> {
        let dir = dir.to_owned();
        match fs::metadata(dir.join(IDENTITY_FILE)) {
            Ok(_) => Ok(Self(dir)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(DataDirError::Forbidden { dir }),
            Err(_) => Err(DataDirError::NeverServed { dir }),
        }
    }

    /// Keeps other servers away for as long as the lock lives; it ends with the process, however that ends.
    pub fn lock(&self) -> Result<DataDirLock, DataDirError> {
        lock_file(&self.0.join(LOCK)).map_err(|error| match error {
            TryLockError::WouldBlock => DataDirError::InUse { dir: self.0.clone() },
            TryLockError::Error(why) => self.unwritable(why),
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The SQLite file, made for its owner only when there is none: it holds the key tokens are signed with. SQLite gives the
    /// files it makes beside it the same permissions.
    pub fn database(&self) -> Result<PathBuf, DataDirError> {
        let file = self.0.join(DATABASE);
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&file);
        opened.map_err(|why| self.unwritable(why))?;
        Ok(file)
    }

    /// The public address the server was last started with.
    pub fn public_address(&self) -> Result<Option<(String, u16)>, DataDirError> {
        let file = self.0.join(PUBLIC_ADDRESS);
        match fs::read_to_string(&file) {
            Ok(text) => match host_port(text.trim()) {
                Ok(address) => Ok(Some(address)),
                Err(_) => Err(DataDirError::BadAddress { file }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(DataDirError::BadAddress { file }),
        }
    }

    /// Keeps the public address for `lanrage-control link`.
    pub fn remember_public_address(&self, authority: &str) -> Result<(), DataDirError> {
        self.keep(PUBLIC_ADDRESS, authority)
    }

    /// Where the running server answers the operator.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        let text = fs::read_to_string(self.0.join(ADMIN_ADDRESS)).ok()?;
        text.trim().parse().ok()
    }

    /// Keeps the address for `lanrage-control admin`.
    pub fn remember_admin_address(&self, address: SocketAddr) -> Result<(), DataDirError> {
        self.keep(ADMIN_ADDRESS, &address.to_string())
    }

    /// Replaces a file of one line whole.
    fn keep(&self, name: &str, line: &str) -> Result<(), DataDirError> {
        let kept = replace(&self.0.join(name), format!("{line}\n").as_bytes());
        kept.map_err(|why| self.unwritable(why))
    }

    fn unwritable(&self, why: io::Error) -> DataDirError {
        let dir = self.0.clone();
        match why.kind() {
            io::ErrorKind::PermissionDenied => DataDirError::Forbidden { dir },
            _ => DataDirError::Unwritable { dir, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_it_holds_is_its_owners_only() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&parent.path().join("a/b")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.database().unwrap()), 0o600);
    }

    #[test]
    fn the_public_address_is_remembered() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        assert_eq!(dir.public_address().unwrap(), None);
        dir.remember_public_address("vps.example:443").unwrap();
        assert_eq!(dir.public_address().unwrap(), Some(("vps.example".into(), 443)));
    }

    #[test]
    fn one_server_at_a_time_serves_from_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        let lock = dir.lock().unwrap();
        assert!(matches!(dir.lock(), Err(DataDirError::InUse { .. })));
        drop(lock);
        assert!(dir.lock().is_ok());
    }

    #[test]
    fn one_server_at_a_time_serves_from_an_sqlite_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.sqlite3");
        let lock = lock_database(&file).unwrap();
        assert!(matches!(lock_database(&file), Err(DataDirError::DatabaseInUse { .. })));
        drop(lock);
        assert!(lock_database(&file).is_ok());
    }

    #[test]
    fn where_no_server_has_run_nothing_is_made() {
        let parent = tempfile::tempdir().unwrap();
        let typo = parent.path().join("tpyo");
        assert!(matches!(
            DataDir::of_server(&typo),
            Err(DataDirError::NeverServed { .. })
        ));
        assert!(!typo.exists());
    }

    #[test]
    fn what_only_another_user_may_do_names_sudo() {
        let dir = DataDir(PathBuf::from("/var/lib/lanrage-control"));
        let sentence = dir.unwritable(io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(
            sentence.contains("sudo") && sentence.contains("--data-dir"),
            "{sentence}"
        );
    }

    #[test]
    fn a_place_that_cannot_be_a_directory_is_reported() {
        let file = NamedTempFile::new().unwrap();
        assert!(matches!(
            DataDir::open(file.path()),
            Err(DataDirError::Unwritable { .. })
        ));
    }
}
