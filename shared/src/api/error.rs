//! The one shape of every refusal.

use serde::{Deserialize, Serialize};

/// A refusal: a stable code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: String,
    /// With `version_conflict`: the version the party has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
}

impl ApiError {
    /// A refusal with a sentence that says what is wrong and what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            current_version: None,
        }
    }
}

/// Stable codes; a program branches on these and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadRequest,
    Unauthorized,
    TokenExpired,
    Forbidden,
    NotFound,
    NotAMember,
    InviteUnknown,
    InviteExpired,
    InviteUsed,
    PartyFull,
    AddressConflict,
    VersionConflict,
    TooLarge,
    RateLimited,
    Superseded,
    Unavailable,
    Internal,
    /// A code of a newer server.
    #[serde(other)]
    Unknown,
}
