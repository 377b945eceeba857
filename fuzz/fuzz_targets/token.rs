//! No text that our key did not sign is a token.
#![no_main]

use lanrage_shared::token::{AccessClaims, RelayClaims, TokenVerifier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let verifier = TokenVerifier::from_public_key(&[9; 32]);
    assert!(verifier.verify::<AccessClaims>(text, 0).is_err());
    assert!(verifier.verify::<RelayClaims>(text, 0).is_err());
});
