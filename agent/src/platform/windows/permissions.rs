//! Who may do what: elevation of this process, access control lists of its files.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::security::{self, SecurityDescriptor};

/// Where the agent keeps its keys and cache unless told otherwise.
pub fn default_state_dir() -> PathBuf {
    std::env::var_os("ProgramData")
        .map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
        .join("LANrage")
}

/// Whether this process may make a network adapter; else the sentence to tell the user.
pub fn check_privileges() -> Result<(), String> {
    if security::is_elevated().unwrap_or(false) {
        Ok(())
    } else {
        Err(
            "LANrage makes a network adapter, which needs administrator rights: start it from a terminal opened with \"Run as administrator\"."
                .to_owned(),
        )
    }
}

/// A directory's access control list is inherited by what we make in it, and ProgramData's lets nobody change others'
/// files: nothing to refuse.
pub fn check_directory(_path: &Path) -> io::Result<Result<(), String>> {
    Ok(Ok(()))
}

/// Opens a file that is its owner's alone.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.open(path)?;
    restrict_to_owner(path)?;
    Ok(file)
}

/// An administrator's file is every administrator's already.
pub fn give_to_owner_of_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a file or a directory readable and writable by SYSTEM, administrators, its owner and the current user alone.
/// What a directory holds inherits it.
pub fn restrict_to_owner(path: &Path) -> io::Result<()> {
    let inherit = if std::fs::metadata(path)?.is_dir() { "OICI" } else { "" };
    let mut sddl = format!("D:P(A;{inherit};FA;;;SY)(A;{inherit};FA;;;BA)");
    for sid in [security::owner_of(path)?, security::current_user()?] {
        sddl.push_str(&format!("(A;{inherit};FA;;;{sid})"));
    }
    SecurityDescriptor::parse(&sddl)?.apply_to(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_file_stays_usable_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "secret").unwrap();
        restrict_to_owner(&file).unwrap();
        restrict_to_owner(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret");
        std::fs::write(&file, "changed").unwrap();
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
