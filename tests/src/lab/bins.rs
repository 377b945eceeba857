//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Finds a program of this workspace: in `LANRAGE_BIN_DIR`, else beside the running program (a test's executable is one
/// directory deeper than the programs).
pub fn find(name: &str) -> Result<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("LANRAGE_BIN_DIR")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    if let Ok(own) = std::env::current_exe() {
        places.extend(own.ancestors().skip(1).take(2).map(PathBuf::from));
    }
    match places.iter().map(|place| place.join(name)).find(|path| path.is_file()) {
        // Absolute, so that it also works for a person in another directory.
        Some(path) => Ok(path.canonicalize()?),
        None => bail!(
            "{name} is not built: run `cargo build -p lanrage-control -p lanrage -p lanrage-tests`, or point LANRAGE_BIN_DIR at a \
             directory that has it"
        ),
    }
}
