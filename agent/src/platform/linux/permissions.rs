//! Who may do what: capabilities of this process, modes of its files.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
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

/// Whether files in a directory of this user's may be trusted: root's, ours, or those of who called sudo.
fn is_trusted(uid: u32) -> bool {
    let caller = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    uid == 0 || uid == rustix::process::geteuid().as_raw() || Some(uid) == caller
}

/// Refuses a directory in which somebody else could swap our files; gives the reason in words.
pub fn check_directory(path: &Path) -> io::Result<Result<(), String>> {
    let metadata = std::fs::metadata(path)?;
    Ok(if metadata.permissions().mode() & 0o022 != 0 {
        Err("can be written by other users; use a directory of your own, or `chmod 700` this one".to_owned())
    } else if !is_trusted(metadata.uid()) {
        Err(format!(
            "belongs to another user (uid {}); use a directory of root's or of your own",
            metadata.uid()
        ))
    } else {
        Ok(())
    })
}

/// Opens a file that is its owner's alone (0600), and never what a link points to.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = options.mode(0o600).custom_flags(no_link).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Gives a file to whom the directory it is in belongs, so that they can use it when root made it.
pub fn give_to_owner_of_directory(path: &Path) -> io::Result<()> {
    let directory = std::fs::metadata(path.parent().unwrap_or(path))?.uid();
    if std::fs::symlink_metadata(path)?.uid() != directory {
        lchown(path, Some(directory), None)?;
    }
    Ok(())
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
    fn a_link_is_not_followed_and_a_wide_mode_is_narrowed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("log"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        assert!(open_private(&mut options, &link).is_err());
        open_private(&mut options, &file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn directories_that_others_can_change_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_directory(dir.path()).unwrap(), Ok(()));
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(check_directory(dir.path()).unwrap().unwrap_err().contains("chmod 700"));
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            lchown(dir.path(), Some(54321), None).unwrap();
            assert!(check_directory(dir.path()).unwrap().unwrap_err().contains("uid 54321"));
        }
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
