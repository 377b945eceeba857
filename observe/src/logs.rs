//! What is logged: `info`, or `warn,lanrage_control=debug` for those who look closer.

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A word that is no level. The filter itself would take it for the name of something, and log nothing else.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a log level: use error, warn, info, debug or trace")]
pub struct NotALevel(String);

/// What to log as the operator wrote it, if every level in it is one.
pub fn checked(text: &str) -> Result<&str, NotALevel> {
    let directives = text.split(',').map(str::trim);
    let levels = directives.map(|directive| directive.rsplit_once('=').map_or(directive, |(_, level)| level));
    let is_level = |level: &str| LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
    match levels.into_iter().find(|level| !is_level(level)) {
        Some(wrong) => Err(NotALevel(wrong.to_owned())),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_named() {
        for text in ["info", "WARN", "warn,lanrage=info, lanrage_agent_core=trace", "off"] {
            assert_eq!(checked(text), Ok(text));
        }
        for (text, wrong) in [
            ("warning", "warning"),
            ("info,lanrage=loud", "loud"),
            ("", ""),
            ("info,", ""),
        ] {
            assert_eq!(checked(text), Err(NotALevel(wrong.to_owned())));
        }
    }
}
