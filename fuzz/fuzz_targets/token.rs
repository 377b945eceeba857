//! No text that our key did not sign is a token; whatever it signed is claims that hold, or refused.
#![no_main]

use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{AccessClaims, Claims, RelayClaims, TokenVerifier};
use libfuzzer_sys::fuzz_target;

const HEADER: &[u8] = br#"{"typ":"JWT","alg":"EdDSA"}"#;
const CLAIMS: &[u8] = br#"{"aud":"lanrage-control","exp":9}"#;

fuzz_target!(|bytes: &[u8]| {
    let key = IdentitySecret::from_bytes([9; 32]);
    let verifier = TokenVerifier::from_public_key(key.public().as_bytes());
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verifier.verify::<AccessClaims>(text, 0).is_err());
        assert!(verifier.verify::<RelayClaims>(text, 0).is_err());
    }
    for (header, claims) in [(HEADER, bytes), (bytes, CLAIMS)] {
        let token = signed(&key, header, claims);
        holds::<AccessClaims>(&verifier, &token);
        holds::<RelayClaims>(&verifier, &token);
    }
});

fn signed(key: &IdentitySecret, header: &[u8], claims: &[u8]) -> String {
    let text = [header, claims].map(|part| BASE64URL_NOPAD.encode(part)).join(".");
    let signature = key.sign(text.as_bytes());
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature.0))
}

fn holds<C: Claims>(verifier: &TokenVerifier, token: &str) {
    const NOW: u64 = 5;
    if let Ok(claims) = verifier.verify::<C>(token, NOW) {
        assert!(claims.expires() > NOW);
    }
}
