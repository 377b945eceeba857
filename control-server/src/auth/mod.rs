//! Who is asking: nonces, proofs and tokens. Nothing is remembered between the steps, so any replica can take any of them.

mod nonce;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use lanrage_shared::api::auth::{Challenge, NONCE_LIFETIME_S, TOKEN_LIFETIME_S, TokenRequest, TokenResponse};
use lanrage_shared::ids::{DeviceId, IdentityKey, Pin};
use lanrage_shared::keys::token_proof;
use lanrage_shared::token::{AccessClaims, Claims, RelayClaims, TokenError, TokenSigner, TokenVerifier};
use lanrage_store::{Store, StoreError};

use self::nonce::NonceKey;
use crate::error::Failure;

/// Names of the secrets in the store.
const NONCE_SECRET: &str = "nonce";
const TOKEN_SECRET: &str = "token";

/// Hands out nonces and tokens and recognises its own.
pub struct Authority {
    pin: Pin,
    nonces: NonceKey,
    token_key: IdentityKey,
    signer: TokenSigner,
    verifier: TokenVerifier,
}

impl Authority {
    /// With the secrets kept in the store, which replicas share; drawn when there are none yet.
    pub async fn open(store: &Store, pin: Pin) -> Result<Self, StoreError> {
        let nonce_key = secret(store, NONCE_SECRET).await?;
        let token_key = SigningKey::from_bytes(&secret(store, TOKEN_SECRET).await?);
        let der = token_key
            .to_pkcs8_der()
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        let public = token_key.verifying_key().to_bytes();
        Ok(Self {
            pin,
            nonces: NonceKey::new(nonce_key),
            signer: TokenSigner::from_pkcs8_der(der.as_bytes()),
            verifier: TokenVerifier::from_public_key(&public),
            token_key: IdentityKey(public),
        })
    }

    /// Something to sign, good for [`NONCE_LIFETIME_S`].
    pub fn challenge(&self, identity: &IdentityKey, now_ms: u64) -> Challenge {
        let nonce = self.nonces.make(identity, now_ms + NONCE_LIFETIME_S * 1000);
        Challenge {
            nonce: BASE64URL_NOPAD.encode(&nonce),
            server_time_ms: now_ms,
        }
    }

    /// A token for whoever proves to own the identity key.
    pub fn token(&self, request: &TokenRequest, now_ms: u64) -> Result<TokenResponse, Failure> {
        let nonce = BASE64URL_NOPAD.decode(request.nonce.as_bytes()).unwrap_or_default();
        if !self.nonces.accepts(&nonce, &request.identity_key, now_ms) {
            return Err(Failure::unauthorized(
                "this challenge is not ours or is too old: ask for a new one",
            ));
        }
        let proof = token_proof(&self.pin, &request.nonce, &request.device_key);
        if !request.identity_key.verifies(&proof, &request.signature) {
            return Err(Failure::unauthorized(
                "the signature does not prove that this device owns its identity key",
            ));
        }
        let device = DeviceId::of(&request.identity_key);
        let now = now_ms / 1000;
        let claims = AccessClaims {
            aud: AccessClaims::AUDIENCE.to_owned(),
            sub: device,
            identity_key: request.identity_key,
            device_key: request.device_key,
            iat: now,
            exp: now + TOKEN_LIFETIME_S,
        };
        Ok(TokenResponse {
            token: self.sign(&claims)?,
            expires_in_s: TOKEN_LIFETIME_S,
            device,
        })
    }

    /// A token that lets a member use a relay.
    pub fn relay_token(&self, claims: &RelayClaims) -> Result<String, StoreError> {
        self.sign(claims)
    }

    /// The key that reads our tokens, for relays.
    pub fn token_key(&self) -> IdentityKey {
        self.token_key
    }

    /// What a token of ours says, while it lasts.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<AccessClaims, TokenError> {
        self.verifier.verify(token, now_ms / 1000)
    }

    fn sign(&self, claims: &impl Claims) -> Result<String, StoreError> {
        self.signer
            .sign(claims)
            .map_err(|error| StoreError::Internal(format!("a token cannot be signed: {error}")))
    }
}

async fn secret(store: &Store, name: &str) -> Result<[u8; 32], StoreError> {
    let kept = store.secret(name, &rand::random::<[u8; 32]>()).await?;
    kept.try_into()
        .map_err(|_| StoreError::Internal(format!("the server's secret {name} is damaged")))
}
