//! Who is asking: a device proves its identity key and gets a short-lived token. No accounts.

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, DeviceKey, IdentityKey};
use crate::keys::Signature;

/// How long an access token lasts, in seconds.
pub const TOKEN_LIFETIME_S: u64 = 15 * 60;
/// How long a nonce can be answered, in seconds.
pub const NONCE_LIFETIME_S: u64 = 60;

/// `POST /v1/auth/challenge`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeRequest {
    pub identity_key: IdentityKey,
}

/// What to sign (with [`crate::keys::token_proof`]), and what time the server has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Challenge {
    pub nonce: String,
    pub server_time_ms: u64,
}

/// `POST /v1/auth/token`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub nonce: String,
    pub signature: Signature,
}

/// The token, for `Authorization: Bearer …`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    pub token: String,
    pub expires_in_s: u64,
    pub device: DeviceId,
}
