//! Any text is a stream message or refused; what is accepted survives being written and read again.
#![no_main]

use lanrage_shared::stream::{ClientMessage, ServerMessage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(message) = ClientMessage::parse(text) {
        assert_eq!(ClientMessage::parse(&message.to_text()).unwrap(), message);
    }
    if let Ok(message) = ServerMessage::parse(text) {
        assert_eq!(ServerMessage::parse(&message.to_text()).unwrap(), message);
    }
});
