//! A game as members speak of it: by an id that agents know it by, and a name that people do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

pub use crate::names::GameName;

/// Longest id in bytes.
pub const MAX_ID: usize = 64;

/// What agents know a game by: the name of its profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GameId(String);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_ID} lower-case letters, digits and hyphens")]
pub struct GameIdError;

impl GameId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GameId {
    type Err = GameIdError;

    fn from_str(text: &str) -> Result<Self, GameIdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned())).ok_or(GameIdError)
    }
}

impl fmt::Display for GameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for GameId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// How sure an agent is that a game runs, as it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    Perhaps,
    Probably,
    Definitely,
}

impl fmt::Display for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Perhaps => "perhaps",
            Self::Probably => "probably",
            Self::Definitely => "definitely",
        })
    }
}

/// What a member plays, as it tells the party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Playing {
    pub id: GameId,
    pub name: GameName,
    pub wording: Wording,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_a_file_can_be_called_everywhere() {
        assert!("quake-3".parse::<GameId>().is_ok());
        for id in ["", "Quake", "../x", "a b", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(id.parse::<GameId>(), Err(GameIdError), "{id}");
        }
    }

    #[test]
    fn surer_is_more() {
        assert!(Wording::Definitely > Wording::Probably && Wording::Probably > Wording::Perhaps);
        assert_eq!(serde_json::to_string(&Wording::Probably).unwrap(), "\"probably\"");
    }
}
