//! The user's profiles on disk: `profiles/*.toml` in the state directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use lanrage_agent_core::games::{MAX_PROFILE, UserProfiles};

/// What was read counts for this long, even if nothing seems to have changed: a file's time may be as it was before.
const CACHED: Duration = Duration::from_secs(30);
/// Most files that are read.
const MOST_FILES: usize = 500;

/// When a file was changed, and its size.
type Stamp = (Option<SystemTime>, u64);

/// The user's profiles, and when they were read.
#[derive(Debug)]
pub struct ProfileFiles {
    pub user: UserProfiles,
    directory: PathBuf,
    read: Option<Instant>,
    stamps: BTreeMap<PathBuf, Stamp>,
}

impl ProfileFiles {
    pub fn new(directory: PathBuf) -> Self {
        Self {
            user: UserProfiles::default(),
            directory,
            read: None,
            stamps: BTreeMap::new(),
        }
    }

    /// Reads the files when they changed, or when they were last read too long ago. Says whether the profiles or their problems are
    /// others than before.
    pub fn look(&mut self, now: Instant) -> bool {
        let stamps = self.stamps();
        let is_fresh = self
            .read
            .is_some_and(|read| now.saturating_duration_since(read) < CACHED);
        if is_fresh && stamps == self.stamps {
            return false;
        }
        let files: Vec<_> = stamps.keys().map(|path| (name(path), text(path))).collect();
        (self.read, self.stamps) = (Some(now), stamps);
        self.user.handle_files(&files)
    }

    fn stamps(&self) -> BTreeMap<PathBuf, Stamp> {
        // Without the directory there are none.
        let Ok(listed) = fs::read_dir(&self.directory) else {
            return BTreeMap::new();
        };
        let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
        let profiles = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
        let stamp = |path: &Path| {
            let metadata = fs::metadata(path).ok();
            let time = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
            (time, metadata.map_or(0, |metadata| metadata.len()))
        };
        profiles
            .take(MOST_FILES)
            .map(|path| (path.clone(), stamp(&path)))
            .collect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// At most one byte more than a profile may have, so that a longer one is seen to be too long.
fn text(path: &Path) -> Result<String, String> {
    let in_words = |error: std::io::Error| format!("the file cannot be read: {error}");
    // Opening a pipe waits for whoever writes to it.
    if !fs::metadata(path).map_err(in_words)?.is_file() {
        return Err("it is not an ordinary file".to_owned());
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(in_words)?;
    file.take(MAX_PROFILE as u64 + 1)
        .read_to_string(&mut text)
        .map_err(in_words)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> String {
        format!("name = \"{name}\"\nlatency_class = \"fast\"\nsources = [\"a friend\"]\n")
    }

    #[test]
    fn a_changed_file_is_read_at_once_and_an_unchanged_one_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, now) = (ProfileFiles::new(dir.path().join("profiles")), Instant::now());
        assert!(!files.look(now), "no directory, no profiles");
        fs::create_dir(dir.path().join("profiles")).unwrap();
        let path = dir.path().join("profiles/mine.toml");
        fs::write(&path, profile("Mine")).unwrap();
        assert!(files.look(now));
        assert_eq!(files.user.len(), 1);
        assert!(!files.look(now));

        fs::write(&path, "name = 1").unwrap();
        assert!(files.look(now));
        assert_eq!((files.user.len(), files.user.problems().len()), (1, 1));

        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "name = 2 # x").unwrap();
        fs::write(&path, "name = 2").unwrap();
        fs::File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert!(!files.look(now), "nothing seems to have changed");
        fs::remove_file(&path).unwrap();
        assert!(files.look(now + CACHED));
        assert!(files.user.is_empty() && files.user.problems().is_empty());
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("long.toml"), "#".repeat(MAX_PROFILE * 2)).unwrap();
        fs::write(dir.path().join("bytes.toml"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("notes.txt"), "not a profile").unwrap();
        let mut files = ProfileFiles::new(dir.path().to_owned());
        assert!(files.look(Instant::now()));
        let problems: Vec<&str> = files
            .user
            .problems()
            .iter()
            .map(|problem| problem.file.as_str())
            .collect();
        assert_eq!(problems, ["bytes.toml", "long.toml"]);
    }
}
