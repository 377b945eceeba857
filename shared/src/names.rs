//! Names people choose: short, printable, trimmed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Longest name in characters: fits one line of every table we print.
pub const MAX_NAME_CHARS: usize = 40;
/// Longest name in bytes: what a name of 40 four-byte characters takes.
pub const MAX_NAME_BYTES: usize = 160;

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name can have at most {MAX_NAME_CHARS} characters; this one has {0}")]
    TooLong(usize),
    #[error("a name cannot contain control or invisible formatting characters")]
    Unprintable,
}

fn checked(text: &str) -> Result<String, NameError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let chars = text.chars().count();
    if chars > MAX_NAME_CHARS || text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(chars));
    }
    if text.chars().any(is_unprintable) {
        return Err(NameError::Unprintable);
    }
    Ok(text.to_owned())
}

/// Control characters move the cursor of whoever prints the name; directional and zero-width marks let one name pass for
/// another. U+200D joins emoji and stays.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}' | '\u{200C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// What a party is called.
    PartyName
);
name!(
    /// What a member is called in its party.
    MemberName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!("  Anna ".parse::<MemberName>().unwrap().as_str(), "Anna");
        assert_eq!("   ".parse::<MemberName>(), Err(NameError::Empty));
        assert_eq!("😀".repeat(300).parse::<MemberName>(), Err(NameError::TooLong(300)));
        assert!("😀".repeat(40).parse::<MemberName>().is_ok());
    }

    #[test]
    fn names_cannot_move_the_cursor_or_turn_the_text_around() {
        assert_eq!("a\nb".parse::<PartyName>(), Err(NameError::Unprintable));
        assert_eq!("\u{202E}annA".parse::<PartyName>(), Err(NameError::Unprintable));
    }
}
