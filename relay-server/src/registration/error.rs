//! Why a relay is not registered.

use std::io;
use std::path::PathBuf;

use lanrage_shared::api::error::ApiError;

/// Why there is no link to the control server.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the control server {server} cannot be reached ({why}); check that it runs and its port is open")]
    Unreachable { server: String, why: String },
    #[error(
        "the server at {server} does not show the key its link names; check the link given with --control (`lanrage-control link` prints it)"
    )]
    WrongKey { server: String },
    #[error(
        "the control server {server} does not take the register token; check the file given with --register-token-file"
    )]
    TokenRefused { server: String },
    /// The server's own sentence.
    #[error("{0}")]
    Refused(ApiError),
    #[error(
        "what answers at {server} does not speak as a control server does ({why}); check that both have the same version"
    )]
    Protocol { server: String, why: String },
}

/// Why the relay's data directory does not serve.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("cannot read {file} ({why}): make it readable, or name another directory with --data-dir")]
    Unreadable { file: PathBuf, why: io::Error },
    #[error("cannot write {file} ({why}): make room for it, and the directory writable")]
    Unwritable { file: PathBuf, why: io::Error },
}
