//! Who may do what: capabilities of this process, modes of its files.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::thread::{CapabilitySet, capabilities};

/// Where the agent keeps its keys and cache unless told otherwise.
pub fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/lanrage")
}

/// Whether this process may make a network interface; else the sentence to tell the user.
pub fn check_privileges() -> Result<(), String> {
    let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN));
    if may {
        Ok(())
    } else {
        Err("LANrage makes a network interface, which needs root: run it with sudo.".to_owned())
    }
}

/// Makes a file (0600) or a directory (0700) its owner's alone.
pub fn restrict_to_owner(path: &Path) -> io::Result<()> {
    let mode = if std::fs::metadata(path)?.is_dir() {
        0o700
    } else {
        0o600
    };
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restricted_files_and_directories_are_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "secret").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();

        restrict_to_owner(&file).unwrap();
        restrict_to_owner(dir.path()).unwrap();

        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn restricting_what_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            restrict_to_owner(&dir.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
