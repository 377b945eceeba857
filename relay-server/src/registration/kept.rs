//! What a relay keeps of the control server's word: one file, replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};

use lanrage_relay_core::relay::Known;
use lanrage_shared::ids::{IdentityKey, Pin};
use lanrage_tls::file::replace;
use serde::{Deserialize, Serialize};

use super::KeptError;
use crate::relay::RelayHandle;

const FILE: &str = "relay-state.json";

/// The file, and what it says.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    control: Pin,
    /// What tokens are signed with.
    pub(super) token_key: Option<IdentityKey>,
    saved: Known,
    saved_key: Option<IdentityKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Whose word it is.
    control: Pin,
    token_key: Option<IdentityKey>,
    revocations: Known,
}

impl Kept {
    /// Puts in force what was kept, if it is this control server's word. A file that cannot be understood counts as none: then the
    /// relay admits nobody before it has heard everything from the control server.
    pub(super) fn open(dir: PathBuf, control: &Pin, relay: &RelayHandle) -> Result<Self, KeptError> {
        let file = dir.join(FILE);
        let state = match std::fs::read(&file) {
            Ok(bytes) => understood(&bytes, &file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(KeptError::Unreadable { file, why }),
        };
        let mut kept = Self {
            dir,
            control: *control,
            token_key: None,
            saved: Known::default(),
            saved_key: None,
        };
        if let Some(state) = state.filter(|state| state.control == *control) {
            relay.restore(&state.revocations);
            kept.saved = state.revocations;
            kept.token_key = state.token_key;
            kept.saved_key = state.token_key;
            if let Some(key) = &kept.token_key {
                relay.set_token_key(key);
            }
        }
        Ok(kept)
    }

    /// Keeps what is in force now, complete or not at all.
    pub(super) fn save(&mut self, relay: &RelayHandle) -> Result<(), KeptError> {
        let revocations = relay.known();
        if (&revocations, self.token_key) == (&self.saved, self.saved_key) {
            return Ok(());
        }
        let state = State {
            control: self.control,
            token_key: self.token_key,
            revocations,
        };
        let file = self.dir.join(FILE);
        let written = serde_json::to_vec(&state)
            .map_err(io::Error::other)
            .and_then(|bytes| replace(&file, &bytes));
        written.map_err(|why| KeptError::Unwritable { file, why })?;
        (self.saved, self.saved_key) = (state.revocations, state.token_key);
        Ok(())
    }
}

fn understood(bytes: &[u8], file: &Path) -> Option<State> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| tracing::warn!(file = %file.display(), %error, "what was kept of revocations is damaged; asking anew"))
        .ok()
}
