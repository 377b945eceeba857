//! Tokens: EdDSA-signed JWTs. The control server signs; it reads its own access tokens, a relay reads relay tokens.
//!
//! Times are seconds since the Unix epoch and are checked against the `now` the caller passes, not against the clock.

use jsonwebtoken::errors::Error as JwtError;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId, RelayId};

/// Longest token read, in bytes; ours take about 400.
pub const MAX_TOKEN: usize = 2048;

/// How far ahead of the reader's clock a token may have been made, in seconds: more than two clocks differ that are five minutes
/// off each.
pub const TOLERATED_S: u64 = 15 * 60;

/// What every token of ours says about itself.
pub trait Claims: Serialize + DeserializeOwned {
    /// The `aud` claim: what the token is for, so that one kind never passes for another.
    const AUDIENCE: &'static str;
    /// When it was made, in seconds since the Unix epoch.
    fn issued(&self) -> u64;
    /// When it ends, in seconds since the Unix epoch.
    fn expires(&self) -> u64;
}

/// Lets a device use the control API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    pub aud: String,
    pub sub: DeviceId,
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub iat: u64,
    pub exp: u64,
}

/// Lets a member use one relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayClaims {
    pub aud: String,
    pub relay: RelayId,
    pub party: PartyId,
    pub member: MemberId,
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub epoch: u32,
    pub iat: u64,
    pub exp: u64,
}

impl Claims for AccessClaims {
    const AUDIENCE: &'static str = "lanrage-control";
    fn issued(&self) -> u64 {
        self.iat
    }
    fn expires(&self) -> u64 {
        self.exp
    }
}

impl Claims for RelayClaims {
    const AUDIENCE: &'static str = "lanrage-relay";
    fn issued(&self) -> u64 {
        self.iat
    }
    fn expires(&self) -> u64 {
        self.exp
    }
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a token of this server")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// Signs tokens with an Ed25519 key.
pub struct TokenSigner(EncodingKey);

/// Reads tokens of one signer.
#[derive(Clone)]
pub struct TokenVerifier(DecodingKey);

impl TokenSigner {
    /// From an Ed25519 private key in PKCS#8 DER.
    pub fn from_pkcs8_der(der: &[u8]) -> Self {
        Self(EncodingKey::from_ed_der(der))
    }

    /// The token's text.
    pub fn sign(&self, claims: &impl Claims) -> Result<String, JwtError> {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.0)
    }
}

impl TokenVerifier {
    /// From the 32 bytes of an Ed25519 public key.
    pub fn from_public_key(key: &[u8; 32]) -> Self {
        Self(DecodingKey::from_ed_der(key))
    }

    /// The claims of a token that this signer made for this purpose and that has not ended at `now` (Unix seconds).
    pub fn verify<C: Claims>(&self, token: &str, now: u64) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[C::AUDIENCE]);
        validation.set_required_spec_claims(&["aud", "exp"]);
        // Against the caller's `now`, below.
        validation.validate_exp = false;
        let read = jsonwebtoken::decode::<Value>(token, &self.0, &validation).map_err(|_| TokenError::Invalid)?;
        // Ours name no key, because there is one, and count from when they are made.
        if read.header.kid.is_some() || read.claims.get("nbf").is_some() {
            return Err(TokenError::Invalid);
        }
        let claims: C = serde_json::from_value(read.claims).map_err(|_| TokenError::Invalid)?;
        if claims.issued() > now.saturating_add(TOLERATED_S) {
            Err(TokenError::Invalid)
        } else if claims.expires() <= now {
            Err(TokenError::Expired)
        } else {
            Ok(claims)
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn pair() -> (TokenSigner, TokenVerifier) {
        let key = SigningKey::from_bytes(&[1; 32]);
        let signer = TokenSigner::from_pkcs8_der(key.to_pkcs8_der().unwrap().as_bytes());
        (signer, TokenVerifier::from_public_key(&key.verifying_key().to_bytes()))
    }

    fn relay_claims() -> RelayClaims {
        RelayClaims {
            aud: RelayClaims::AUDIENCE.into(),
            relay: "fra-1".parse().unwrap(),
            party: PartyId(Uuid::nil()),
            member: MemberId(1),
            identity_key: IdentityKey([1; 32]),
            device_key: DeviceKey([2; 32]),
            epoch: 1,
            iat: 100,
            exp: 200,
        }
    }

    /// A token of our key whose header and claims are any bytes.
    fn signed(header: &[u8], claims: &[u8]) -> String {
        let text = [header, claims].map(|part| BASE64URL_NOPAD.encode(part)).join(".");
        let signature = SigningKey::from_bytes(&[1; 32]).sign(text.as_bytes());
        format!("{text}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes()))
    }

    const HEADER: &[u8] = br#"{"typ":"JWT","alg":"EdDSA"}"#;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(|number| json!(number)),
            any::<i64>().prop_map(|number| json!(number)),
            any::<f64>().prop_map(|number| json!(number)),
            any::<String>().prop_map(|text| json!(text)),
            proptest::collection::vec("[a-z-]{0,20}", 0..4).prop_map(|list| json!(list)),
            Just(json!(null)),
        ]
    }

    #[test]
    fn a_token_ends_and_serves_one_purpose() {
        let (signer, verifier) = pair();
        let token = signer.sign(&relay_claims()).unwrap();
        assert_eq!(verifier.verify::<RelayClaims>(&token, 199), Ok(relay_claims()));
        assert_eq!(verifier.verify::<RelayClaims>(&token, 200), Err(TokenError::Expired));
        assert_eq!(verifier.verify::<AccessClaims>(&token, 150), Err(TokenError::Invalid));
    }

    #[test]
    fn another_key_or_a_changed_byte_is_refused() {
        let (signer, verifier) = pair();
        let token = signer.sign(&relay_claims()).unwrap();
        let other = TokenVerifier::from_public_key(&SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
        assert_eq!(other.verify::<RelayClaims>(&token, 150), Err(TokenError::Invalid));
        let mut changed = token.into_bytes();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        let changed = String::from_utf8_lossy(&changed);
        assert_eq!(verifier.verify::<RelayClaims>(&changed, 150), Err(TokenError::Invalid));
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "\\PC*", dotted in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}") {
            let (_, verifier) = pair();
            prop_assert!(verifier.verify::<RelayClaims>(&text, 0).is_err());
            prop_assert!(verifier.verify::<RelayClaims>(&dotted, 0).is_err());
        }

        #[test]
        fn any_bytes_our_key_signed_are_refused(bytes: Vec<u8>) {
            let (_, verifier) = pair();
            let claims = serde_json::to_vec(&relay_claims()).unwrap();
            prop_assert!(verifier.verify::<RelayClaims>(&signed(HEADER, &claims), 0).is_ok());
            prop_assert!(verifier.verify::<RelayClaims>(&signed(HEADER, &bytes), 0).is_err());
            prop_assert!(verifier.verify::<RelayClaims>(&signed(&bytes, &claims), 0).is_err());
        }

        #[test]
        fn claims_with_any_one_field_keep_their_promises_or_are_refused(field in 0..9_usize, value in any_value(), now: u64) {
            let (_, verifier) = pair();
            let mut claims = serde_json::to_value(relay_claims()).unwrap();
            *claims.as_object_mut().unwrap().values_mut().nth(field).unwrap() = value;
            let token = signed(HEADER, claims.to_string().as_bytes());
            if let Ok(claims) = verifier.verify::<RelayClaims>(&token, now) {
                prop_assert!(claims.aud == RelayClaims::AUDIENCE && claims.exp > now);
            }
            prop_assert!(verifier.verify::<AccessClaims>(&token, now).is_err());
        }
    }
}
