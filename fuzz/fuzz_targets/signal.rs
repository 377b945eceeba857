//! Any text is a signal or refused, also one whose content a member sealed; what is accepted is bounded.
#![no_main]

use data_encoding::BASE64;
use lanrage_shared::keys::{DeviceSecret, PartySecret};
use lanrage_shared::pair::PairKeys;
use lanrage_shared::seal::{self, NONCE_LEN};
use lanrage_shared::signal::{AAD, MAX_CANDIDATES, MAX_RELAYS, Signal, from_datagram};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let secret = PartySecret::from_bytes([3; 32]);
    let (a, b) = (DeviceSecret::from_bytes([1; 32]), DeviceSecret::from_bytes([2; 32]));
    let keys = PairKeys::derive(&secret, &a, &b.public());
    if let Some(text) = from_datagram(bytes) {
        let _ = Signal::open(text, &keys);
    }
    let sealed = BASE64.encode(&seal::seal(&keys.signal_receive, [7; NONCE_LEN], AAD, bytes));
    if let Ok(signal) = Signal::open(&sealed, &keys) {
        assert!(signal.candidates.len() <= MAX_CANDIDATES && signal.relays.len() <= MAX_RELAYS);
    }
});
