//! Names people choose: short, printable, trimmed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Longest name in characters: fits one line of every table we print.
pub const MAX_NAME_CHARS: usize = 40;
/// Longest name of a game in characters: "Tom Clancy's Ghost Recon Advanced Warfighter 2" is a game.
pub const MAX_GAME_NAME_CHARS: usize = 64;

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name can have at most {most} characters; this one has {chars}")]
    TooLong { chars: usize, most: usize },
    #[error("a name cannot contain control or invisible formatting characters")]
    Unprintable,
}

fn checked(text: &str, most: usize) -> Result<String, NameError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let chars = text.chars().count();
    if chars > most {
        return Err(NameError::TooLong { chars, most });
    }
    if has_unprintable(text) {
        return Err(NameError::Unprintable);
    }
    Ok(text.to_owned())
}

/// Whether a name holds what moves the cursor of whoever prints it, turns its text around, or is not seen at all, so that one
/// name passes for another. Invisible characters stay where a script or an emoji needs them.
fn has_unprintable(text: &str) -> bool {
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let belongs = match c {
            // RFC 5892 A.1 and A.2: joiners after a virama. Besides, U+200D joins emoji.
            '\u{200C}' => before.is_some_and(is_virama),
            '\u{200D}' => {
                before.is_some_and(is_virama)
                    || before.is_some_and(|before| is_emoji(before) || before == '\u{FE0F}')
                        && chars.peek().is_some_and(|after| is_emoji(*after))
            }
            // Whether the character before is an emoji or text: ❤️, 1️⃣, ♀️.
            '\u{FE0E}' | '\u{FE0F}' => before.is_some_and(|before| {
                is_emoji(before) || before.is_ascii_digit() || matches!(before, '#' | '*' | '\u{A9}' | '\u{AE}')
            }),
            // The flags of England, Scotland and Wales: a black flag and its region's letters.
            '\u{E0020}'..='\u{E007F}' => {
                before.is_some_and(|before| matches!(before, '\u{1F3F4}' | '\u{E0020}'..='\u{E007E}'))
            }
            c if is_mark(c) => before.is_some_and(|before| !before.is_whitespace()),
            c => !is_invisible(c),
        };
        if !belongs {
            return true;
        }
        before = Some(c);
    }
    false
}

/// Whether a character is drawn, and where it stands, in text that is no name and has no need of others.
pub(crate) fn is_plain(c: char) -> bool {
    !is_invisible(c) && !is_mark(c)
}

/// Control, directional and format characters, and those that Unicode calls letters or symbols but draws as nothing.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{70F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Marks that have no width of their own: alone, they are drawn over what stands before the name.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{34E}' | '\u{350}'..='\u{36F}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5BD}'
        | '\u{64B}'..='\u{65F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}')
}

/// The sign of Indic scripts after which a joiner changes how a syllable is written.
fn is_virama(c: char) -> bool {
    matches!(
        c,
        '\u{94D}'
            | '\u{9CD}'
            | '\u{A4D}'
            | '\u{ACD}'
            | '\u{B4D}'
            | '\u{BCD}'
            | '\u{C4D}'
            | '\u{CCD}'
            | '\u{D4D}'
            | '\u{DCA}'
    )
}

/// The blocks that emoji are in, skin tones included.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21FF}' | '\u{2300}'..='\u{23FF}' | '\u{24C2}'
        | '\u{25A0}'..='\u{27BF}' | '\u{2934}' | '\u{2935}' | '\u{2B00}'..='\u{2BFF}' | '\u{3030}' | '\u{303D}' | '\u{3297}'
        | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $most:expr) => {
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
                checked(text, $most).map(Self)
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
    PartyName,
    MAX_NAME_CHARS
);
name!(
    /// What a member is called in its party.
    MemberName,
    MAX_NAME_CHARS
);
name!(
    /// What a game is called.
    GameName,
    MAX_GAME_NAME_CHARS
);

impl MemberName {
    /// Whether a reader may take one for the other: case, spaces and joiners do not tell names apart.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.seen().eq(other.seen())
    }

    /// This name with a number after it, shortened where both would be too long.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Self {
        let mut name = self.as_str();
        loop {
            if let Ok(numbered) = format!("{name} {number}").parse() {
                return numbered;
            }
            let Some((shorter, _)) = name.char_indices().next_back() else {
                return self.clone();
            };
            name = name[..shorter].trim_end();
        }
    }

    fn seen(&self) -> impl Iterator<Item = char> {
        let chars = self.0.chars();
        let seen =
            chars.filter(|c| !c.is_whitespace() && !matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE0E}' | '\u{FE0F}'));
        seen.flat_map(char::to_lowercase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!("  Anna ".parse::<MemberName>().unwrap().as_str(), "Anna");
        assert_eq!("   ".parse::<MemberName>(), Err(NameError::Empty));
        let too_long = NameError::TooLong { chars: 300, most: 40 };
        assert_eq!("😀".repeat(300).parse::<MemberName>(), Err(too_long));
        assert!("😀".repeat(40).parse::<MemberName>().is_ok());
    }

    #[test]
    fn names_cannot_move_the_cursor_or_turn_the_text_around() {
        for name in [
            "a\nb",
            "a\u{1b}[2Jb",
            "\u{202E}annA",
            "An\u{2066}na",
            "An\u{61C}na",
            "\u{301}Anna",
        ] {
            assert_eq!(name.parse::<PartyName>(), Err(NameError::Unprintable), "{name:?}");
        }
    }

    #[test]
    fn nothing_in_a_name_is_invisible() {
        for hidden in [
            "\u{200B}",
            "\u{200C}",
            "\u{200D}",
            "\u{AD}",
            "\u{34F}",
            "\u{3164}",
            "\u{2800}",
            "\u{FEFF}",
            "\u{FE0F}",
            "\u{E0041}",
            "\u{180E}",
            "\u{2060}",
        ] {
            for name in [
                hidden.to_owned(),
                hidden.repeat(3),
                format!("An{hidden}na"),
                format!("Anna{hidden}"),
            ] {
                assert_eq!(name.parse::<MemberName>(), Err(NameError::Unprintable), "{name:?}");
            }
        }
        for joined in [
            "😀\u{200D}",
            "\u{200D}😀",
            "😀\u{200D}\u{200D}😀",
            "😀\u{200D}a",
            "か\u{200D}な",
        ] {
            assert_eq!(joined.parse::<MemberName>(), Err(NameError::Unprintable), "{joined:?}");
        }
    }

    #[test]
    fn a_numbered_name_is_a_name_and_another_one() {
        let number = |name: &str| name.parse::<MemberName>().unwrap().numbered(254);
        assert_eq!(number("Ben").as_str(), "Ben 254");
        assert_eq!(number(&"x".repeat(40)).as_str(), format!("{} 254", "x".repeat(36)));
        for long in ["😀".repeat(40), "👨‍👩‍👧‍👦".repeat(5), "a ".repeat(20)] {
            assert!(number(&long).as_str().ends_with(" 254"), "{long}");
            assert_eq!(number(&long).as_str().parse(), Ok(number(&long)));
        }
    }

    #[test]
    fn names_that_look_alike_are_told() {
        let name = |text: &str| text.parse::<MemberName>().unwrap();
        for (one, other) in [("Anna", "anna"), ("An na", "Anna"), ("❤️", "❤"), ("ZOË", "zoë")] {
            assert!(name(one).looks_like(&name(other)), "{one} {other}");
        }
        assert!(!name("Anna").looks_like(&name("Anna 2")));
    }

    #[test]
    fn emoji_and_scripts_that_need_joiners_are_names() {
        for name in [
            "👨‍👩‍👧‍👦",
            "🏳️‍🌈 Ben",
            "👩🏽‍🚒",
            "❤️",
            "1️⃣",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "ශ්‍රී",
            "Zoë",
            "Zoe\u{308}",
            "Łukasz",
            "李雷",
            "محمد",
        ] {
            assert_eq!(name.parse::<MemberName>().unwrap().as_str(), name);
        }
    }
}
