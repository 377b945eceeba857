//! Files that know when they are damaged, kept twice.
//!
//! A file is one JSON object `{format, checksum, body}`; the checksum is SHA-256 over the format's name and the body's exact
//! bytes. Writing goes to a temporary file that is synced and renamed over the old one, so a crash or a full disk leaves
//! the old one whole. Disks lie and people edit: the copy `<name>.last` is there for when the file is torn all the same.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::StateError;

/// Larger files are not ours: a party of 254 members takes about 150 KiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    format: String,
    checksum: String,
    body: Box<RawValue>,
}

/// What is where a file should be.
pub(super) enum Found<T> {
    Good(T),
    Missing,
    /// Torn, or not what it should be.
    Damaged,
}

/// The two places a file is kept at: the file and its copy.
pub(super) fn places(dir: &Path, name: &str) -> [PathBuf; 2] {
    [dir.join(name), dir.join(format!("{name}.last"))]
}

/// Writes a file and its copy. On an error both are as they were before.
pub(super) fn save(dir: &Path, name: &str, format: &str, body: &impl Serialize) -> Result<(), StateError> {
    let places = places(dir, name);
    let text = seal(format, body)
        .map_err(io::Error::other)
        .map_err(StateError::io("encode", &places[0]))?;
    if text.len() as u64 > MAX_FILE {
        let error = io::Error::new(io::ErrorKind::InvalidData, "it would be too large to be read again");
        return Err(StateError::io("write", &places[0])(error));
    }
    // Both are on the disk before either takes its place: a full disk changes nothing.
    for place in &places {
        write_private(&temporary(place), text.as_bytes())?;
    }
    for place in &places {
        std::fs::rename(temporary(place), place).map_err(StateError::io("replace", place))?;
    }
    sync_dir(dir)
}

/// Reads one place.
pub(super) fn load<T: for<'de> Deserialize<'de>>(place: &Path, format: &str) -> Result<Found<T>, StateError> {
    let metadata = match std::fs::metadata(place) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(StateError::io("read", place)(error)),
    };
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Ok(Found::Damaged);
    }
    let bytes = std::fs::read(place).map_err(StateError::io("read", place))?;
    Ok(open(format, &bytes).map_or(Found::Damaged, Found::Good))
}

/// Puts a good copy in the place of a damaged or missing file.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StateError> {
    let bytes = std::fs::read(from).map_err(StateError::io("read", from))?;
    let temporary = temporary(to);
    write_private(&temporary, &bytes)?;
    std::fs::rename(&temporary, to).map_err(StateError::io("replace", to))
}

/// Moves another device's file of this name out of the way; where it is now.
pub(super) fn set_aside(dir: &Path, name: &str, place: &Path) -> Result<PathBuf, StateError> {
    let aside = dir.join(format!("{name}.foreign"));
    std::fs::rename(place, &aside).map_err(StateError::io("set aside", place))?;
    Ok(aside)
}

/// Removes a file and its copy.
pub(super) fn remove(dir: &Path, name: &str) -> Result<(), StateError> {
    for place in places(dir, name) {
        match std::fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::io("remove", &place)(error));
            }
            _ => {}
        }
    }
    sync_dir(dir)
}

/// Writes and syncs a file that only its owner may read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let written = || {
        let mut file = create_private(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|error| {
        // Half a file would only take up space; the error is what counts.
        let _ = std::fs::remove_file(path);
        StateError::io("write", path)(error)
    })
}

/// The file's name is ours and nothing good can be at it: whatever is there goes, with its mode.
fn create_private(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    crate::platform::open_private(options.write(true).create_new(true), path)
}

fn temporary(place: &Path) -> PathBuf {
    let mut path = place.as_os_str().to_owned();
    path.push(".tmp");
    path.into()
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), StateError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(StateError::io("sync", dir))
}

/// NTFS journals renames by itself and does not let a directory be synced.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), StateError> {
    Ok(())
}

fn seal(format: &str, body: &impl Serialize) -> serde_json::Result<String> {
    let body = serde_json::value::to_raw_value(body)?;
    let checksum = checksum(format, body.get());
    serde_json::to_string(&Envelope {
        format: format.to_owned(),
        checksum,
        body,
    })
}

fn open<T: for<'de> Deserialize<'de>>(format: &str, bytes: &[u8]) -> Option<T> {
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let whole = envelope.format == format && envelope.checksum == checksum(format, envelope.body.get());
    whole.then(|| serde_json::from_str(envelope.body.get()).ok()).flatten()
}

fn checksum(format: &str, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(format)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    HEXLOWER.encode(&digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMAT: &str = "lanrage test 1";

    #[test]
    fn a_file_cut_at_any_byte_is_noticed() {
        let text = seal(FORMAT, &vec!["one", "two"]).unwrap();
        assert_eq!(open::<Vec<String>>(FORMAT, text.as_bytes()).unwrap(), ["one", "two"]);
        for end in 0..text.len() {
            assert_eq!(
                open::<Vec<String>>(FORMAT, &text.as_bytes()[..end]),
                None,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let text = seal(FORMAT, &vec!["one", "two"]).unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert_eq!(open::<Vec<String>>(FORMAT, &bytes), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_file_of_another_kind_is_not_taken_for_this_one() {
        let text = seal("lanrage other 1", &1).unwrap();
        assert_eq!(open::<u32>(FORMAT, text.as_bytes()), None);
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "x.json", FORMAT, &"good").unwrap();
        let huge = "x".repeat(MAX_FILE as usize);
        assert!(save(dir.path(), "x.json", FORMAT, &huge).is_err());
        let [main, last] = places(dir.path(), "x.json");
        for place in [main, last] {
            assert!(matches!(load::<String>(&place, FORMAT).unwrap(), Found::Good(text) if text == "good"));
        }
    }

    #[test]
    fn a_save_that_cannot_be_written_leaves_the_old_file_whole() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "x.json", FORMAT, &1).unwrap();
        // A directory in the way fails the write as a full disk would, for root too.
        let [main, last] = places(dir.path(), "x.json");
        std::fs::create_dir_all(temporary(&last).join("in the way")).unwrap();

        assert!(save(dir.path(), "x.json", FORMAT, &2).is_err());
        assert!(matches!(load::<u32>(&main, FORMAT).unwrap(), Found::Good(1)));
        assert!(matches!(load::<u32>(&last, FORMAT).unwrap(), Found::Good(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(open::<serde_json::Value>(FORMAT, &bytes).is_none());
        }
    }
}
