//! The one shape of every refusal.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest sentence that is read from a refusal, in characters: twice the longest of ours.
pub const MAX_MESSAGE_CHARS: usize = 300;

/// A refusal: a stable code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    /// Read as one printable line of at most [`MAX_MESSAGE_CHARS`], whatever a server sends: it goes to terminals and logs.
    #[serde(deserialize_with = "printable")]
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
}
