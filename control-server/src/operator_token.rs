//! What a relay or an admin has to show to be taken for the operator's: a secret in a file of the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use lanrage_tls::file::replace;
use sha2::Sha256;

/// The file of the relays' token.
pub(crate) const RELAY_TOKEN_FILE: &str = "relay-token";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Registering relays.
    Relays,
    /// The admin API.
    Admin,
}

impl Purpose {
    fn file(self) -> &'static str {
        match self {
            Self::Relays => RELAY_TOKEN_FILE,
            Self::Admin => "admin-token",
        }
    }

    /// How the operator draws another one.
    fn remedy(self) -> &'static str {
        match self {
            Self::Relays => "draw another token with `lanrage-control relay-token --renew`",
            Self::Admin => "remove it and start the server again",
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum OperatorTokenError {
    #[error("{file} cannot be read ({why}): make it readable, or {remedy}")]
    Unreadable {
        file: PathBuf,
        why: io::Error,
        remedy: &'static str,
    },
    #[error("{file} holds no token: {remedy}")]
    Empty { file: PathBuf, remedy: &'static str },
    #[error("{file} cannot be written ({why}): make its directory writable")]
    Unwritable { file: PathBuf, why: io::Error },
}

/// The token, as the file has it now: a renewed one counts at once, without a restart.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    file: PathBuf,
    purpose: Purpose,
}

impl OperatorToken {
    /// The token of a data directory; drawn when there is none yet.
    pub fn open(data_dir: &Path, purpose: Purpose) -> Result<Self, OperatorTokenError> {
        let this = Self::of_server(data_dir, purpose);
        match this.read() {
            Err(OperatorTokenError::Unreadable { why, .. }) if why.kind() == io::ErrorKind::NotFound => this.renew()?,
            outcome => drop(outcome?),
        }
        Ok(this)
    }

    /// The token of a data directory that a server has run on; only looked at.
    pub fn of_server(data_dir: &Path, purpose: Purpose) -> Self {
        Self {
            file: data_dir.join(purpose.file()),
            purpose,
        }
    }

    /// Draws another token. The former one is worth nothing from now on.
    pub fn renew(&self) -> Result<(), OperatorTokenError> {
        let token = BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>());
        replace(&self.file, format!("{token}\n").as_bytes()).map_err(|why| OperatorTokenError::Unwritable {
            file: self.file.clone(),
            why,
        })
    }

    /// The token's text. Only for the operator's eyes.
    pub fn read(&self) -> Result<String, OperatorTokenError> {
        let (file, remedy) = (|| self.file.clone(), self.purpose.remedy());
        let text = fs::read_to_string(&self.file).map_err(|why| OperatorTokenError::Unreadable {
            file: file(),
            why,
            remedy,
        })?;
        match text.trim() {
            "" => Err(OperatorTokenError::Empty { file: file(), remedy }),
            token => Ok(token.to_owned()),
        }
    }

    /// Whether `shown` is the token. Takes as long for a token that is nearly right as for any other.
    pub fn accepts(&self, shown: &str) -> Result<bool, OperatorTokenError> {
        let token = self.read()?;
        // Digests under a key nobody else has: what their comparison takes says nothing about the texts.
        let key = rand::random::<[u8; 32]>();
        let digest = |text: &str| -> Hmac<Sha256> {
            #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
            let mac = Hmac::<Sha256>::new_from_slice(&key).expect("32 bytes are a key");
            mac.chain_update(text)
        };
        let expected = digest(&token).finalize().into_bytes();
        Ok(digest(shown).verify_slice(&expected).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_drawn_once_and_its_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        let token = OperatorToken::open(dir.path(), Purpose::Relays).unwrap();
        let text = token.read().unwrap();
        assert_eq!(text.len(), 43);
        assert_eq!(
            OperatorToken::open(dir.path(), Purpose::Relays)
                .unwrap()
                .read()
                .unwrap(),
            text
        );
        let mode = fs::metadata(dir.path().join("relay-token"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn only_the_token_as_it_is_now_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let token = OperatorToken::open(dir.path(), Purpose::Relays).unwrap();
        let first = token.read().unwrap();
        assert!(token.accepts(&first).unwrap());
        for wrong in ["", "x", &first[1..], &format!("{first}A")] {
            assert!(!token.accepts(wrong).unwrap(), "{wrong}");
        }
        token.renew().unwrap();
        assert!(!token.accepts(&first).unwrap());
        assert!(token.accepts(&token.read().unwrap()).unwrap());
    }

    #[test]
    fn an_empty_file_admits_nobody() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("relay-token"), "\n").unwrap();
        let token = OperatorToken::of_server(dir.path(), Purpose::Relays);
        assert!(matches!(token.accepts(""), Err(OperatorTokenError::Empty { .. })));
        assert!(matches!(
            OperatorToken::open(dir.path(), Purpose::Relays),
            Err(OperatorTokenError::Empty { .. })
        ));
    }
}
