//! Small files that are there whole or not at all, whatever ends the program.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `bytes` to `file`, in the place of what was there. Nobody but its owner can read it.
pub fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    written_beside(file, bytes)?
        .persist(file)
        .map_err(|error| error.error)?;
    Ok(())
}

/// A file without a name of its own yet, with `bytes` in it on the disk. What tempfile makes is its owner's only.
pub(crate) fn written_beside(file: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut temporary = NamedTempFile::new_in(dir)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_there_is_replaced_whole_and_its_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept");
        for text in ["the first, which is longer", "the second"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(replace(&dir.path().join("nowhere/kept"), b"").is_err());
    }
}
