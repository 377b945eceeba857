//! Any text is a game's profile, or refused with a line that the text has.
#![no_main]

use lanrage_agent_core::games::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse("x.toml", text) {
        Ok(game) => assert!(!game.sources.is_empty()),
        Err(error) => assert!((1..=text.lines().count().max(1) + 1).contains(&error.line)),
    }
});
