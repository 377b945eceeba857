//! Why a relay cannot be used.

use std::net::SocketAddr;

use lanrage_shared::api::error::ApiError;

/// Why there is no session at a relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the relay at {relay} cannot be reached ({why}); check that it runs and its port is open for UDP and TCP")]
    Unreachable { relay: SocketAddr, why: String },
    #[error(
        "the relay at {relay} does not show the key the control server names; do not use it until its operator has explained that"
    )]
    WrongKey { relay: SocketAddr },
    /// The relay's own sentence.
    #[error("{0}")]
    Refused(ApiError),
    #[error(
        "what answers at {relay} does not speak as a relay does ({why}); check that both sides have the same version"
    )]
    Protocol { relay: SocketAddr, why: String },
}

/// Why a payload was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the payload is longer than a relay passes on")]
    TooLong,
    /// Over TCP, while the connection is stuck.
    #[error("there is no room for more on the way to the relay")]
    NoRoom,
    #[error("the connection to the relay is over")]
    Closed,
}
