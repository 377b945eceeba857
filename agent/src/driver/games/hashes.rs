//! SHA-256 of executables, for profiles that know a game by it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use lanrage_agent_core::games::{Process, Sha256};
use sha2::Digest;

/// Most bytes that are read in one look; what is left over has its turn in the next. A second of a slow disk.
const BYTES_PER_LOOK: u64 = 128 << 20;
/// A larger file is no game's executable; games keep their data beside it.
const LARGEST: u64 = 1 << 30;
/// Executables that are remembered; beyond that all are forgotten and read again.
const REMEMBERED: usize = 4096;

/// A file as it was when it was read.
type Key = (PathBuf, Option<SystemTime>, u64);

/// Hashes that are known.
#[derive(Debug, Default)]
pub struct Hashes {
    known: HashMap<Key, Option<Sha256>>,
}

impl Hashes {
    /// Says of each process what its executable's hash is, as far as there was time to find out.
    pub fn add_to(&mut self, processes: &mut [Process]) {
        let mut left = BYTES_PER_LOOK;
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        for process in processes {
            process.hash = process.exe.as_ref().and_then(|exe| self.hash(exe.into(), &mut left));
        }
    }

    fn hash(&mut self, path: PathBuf, left: &mut u64) -> Option<Sha256> {
        let metadata = fs::metadata(&path).ok()?;
        let key = (path, metadata.modified().ok(), metadata.len());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        if metadata.len() > LARGEST {
            return None;
        }
        // The first of a look may be as large as it likes, else it would never have its turn.
        if metadata.len() > *left && *left < BYTES_PER_LOOK {
            return None;
        }
        *left = left.saturating_sub(metadata.len());
        let hash = sha256(&key.0).ok();
        self.known.insert(key, hash);
        hash
    }
}

fn sha256(path: &PathBuf) -> io::Result<Sha256> {
    let (mut file, mut digest) = (File::open(path)?, sha2::Sha256::new());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_once_until_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("game");
        let (mut hashes, mut process) = (Hashes::default(), Process::default());
        process.exe = exe.to_str().map(str::to_owned);
        let mut look = |hashes: &mut Hashes| {
            hashes.add_to(std::slice::from_mut(&mut process));
            process.hash
        };
        assert_eq!(look(&mut hashes), None);
        fs::write(&exe, "abc").unwrap();
        let abc = look(&mut hashes).unwrap();
        assert_eq!(abc[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!((look(&mut hashes), hashes.known.len()), (Some(abc), 1));
        fs::write(&exe, "abcd").unwrap();
        assert_ne!(look(&mut hashes), Some(abc));
    }
}
