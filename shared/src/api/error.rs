//! The one shape of every refusal.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest sentence that is read from a refusal, in characters: twice the longest of ours.
pub const MAX_MESSAGE_CHARS: usize = 300;

/// A refusal: a stable code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(from = "Told")]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    /// Read as one printable line of at most [`MAX_MESSAGE_CHARS`], whatever a server sends: it goes to terminals and logs.
    pub message: String,
    /// What a program can do something about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<ErrorDetails>,
}

/// What a refusal says besides, for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDetails {
    /// With `version_conflict`: the version the party has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
    /// With `version_conflict` of a new invite: the epoch of the party's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_secret_epoch: Option<u32>,
    /// Of `/readyz`: what fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedCheck>,
}

/// Something a server needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedCheck {
    /// `database`, say.
    pub check: String,
    pub why: String,
}

/// A refusal as it is sent. Servers before 0.2 put the version beside the code.
#[derive(Deserialize)]
struct Told {
    code: ErrorCode,
    #[serde(deserialize_with = "printable")]
    message: String,
    #[serde(default)]
    details: Option<ErrorDetails>,
    #[serde(default)]
    current_version: Option<u64>,
}

impl From<Told> for ApiError {
    fn from(told: Told) -> Self {
        let beside = told.current_version.map(|version| ErrorDetails {
            current_version: Some(version),
            ..ErrorDetails::default()
        });
        Self {
            code: told.code,
            message: told.message,
            details: told.details.or(beside),
        }
    }
}

impl ApiError {
    /// A refusal with a sentence that says what is wrong and what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
        }
    }

    /// With `version_conflict`: the version the party has now.
    pub fn current_version(&self) -> Option<u64> {
        self.details.as_ref()?.current_version
    }

    /// With `version_conflict` of a new invite: the epoch of the party's secret.
    pub fn current_secret_epoch(&self) -> Option<u32> {
        self.details.as_ref()?.current_secret_epoch
    }
}

/// Whatever moves the cursor or turns the text around becomes a space.
fn printable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    let plain = |c: char| match c {
        c if c.is_control() => ' ',
        '\u{61C}'
        | '\u{200B}'
        | '\u{200E}'
        | '\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' => ' ',
        c => c,
    };
    Ok(text.chars().take(MAX_MESSAGE_CHARS).map(plain).collect())
}

/// Stable codes; a program branches on these and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// Another device of the party has this WireGuard key.
    KeyTaken,
    /// The party's host has banned this device.
    Banned,
    /// The party admits nobody for now.
    PartyLocked,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> String {
        let text = serde_json::json!({"code": "internal", "message": message}).to_string();
        serde_json::from_str::<ApiError>(&text).unwrap().message
    }

    #[test]
    fn a_servers_sentence_cannot_take_over_a_terminal() {
        assert_eq!(read("stop\u{1b}[2J\nroot# \u{202E}x\u{9b}0m"), "stop [2J root#  x 0m");
        assert_eq!(read(&"ü".repeat(5000)).chars().count(), MAX_MESSAGE_CHARS);
        assert_eq!(
            read("the invite of Zoë 👨‍👩‍👧 is used up"),
            "the invite of Zoë 👨‍👩‍👧 is used up"
        );
    }

    #[test]
    fn the_version_is_found_where_older_servers_put_it_too() {
        for refusal in [
            r#"{"code": "version_conflict", "message": "x", "details": {"current_version": 7}}"#,
            r#"{"code": "version_conflict", "message": "x", "current_version": 7}"#,
        ] {
            let error: ApiError = serde_json::from_str(refusal).unwrap();
            assert_eq!(error.current_version(), Some(7), "{refusal}");
        }
        let plain = serde_json::to_string(&ApiError::new(ErrorCode::NotFound, "x")).unwrap();
        assert_eq!(plain, r#"{"code":"not_found","message":"x"}"#);
    }
}
