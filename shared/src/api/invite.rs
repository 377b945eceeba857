//! Invites: made by the host, redeemed by whoever holds the code. The server sees neither the code nor the party secret.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::invite::InviteAuth;
use crate::names::MemberName;

/// Invites last this long unless the host says otherwise: 7 days, in seconds.
pub const DEFAULT_LIFETIME_S: u64 = 7 * 24 * 3600;
/// Longest lifetime of an invite: 90 days, in seconds.
pub const MAX_LIFETIME_S: u64 = 90 * 24 * 3600;

/// `POST /v1/parties/{id}/invites`, and part of creating a party.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewInvite {
    /// Base64url of [`InviteAuth::hash`].
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"))]
    pub auth_hash: String,
    /// Base64url of the party secret sealed under the code ([`crate::invite::InviteCode::seal`]).
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{96}$"))]
    pub sealed_secret: String,
    /// The epoch of that secret. When the party has another one, the invite is refused with `version_conflict`; without this
    /// it counts as the newest. Of a party about to be created there is but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_epoch: Option<u32>,
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 7776000))]
    pub expires_in_s: u64,
    /// How many devices it admits; none = any number until it expires.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub max_uses: Option<u32>,
}

/// An invite the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteCreated {
    pub id: Uuid,
    pub expires_at_ms: u64,
}

/// An invite that still admits somebody: one of the answers to `GET /v1/parties/{id}/invites`, host only. `DELETE
/// /v1/parties/{id}/invites/{invite}` ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedInvite {
    pub id: Uuid,
    pub created_at_ms: u64,
    pub expires_at_ms: u64,
    /// How many devices it admits; none = any number.
    pub max_uses: Option<u32>,
    /// How many it has admitted.
    pub uses: u32,
}

/// `POST /v1/invites/redeem`. Answer: [`crate::api::party::Joined`]. A device that already is a member gets its membership
/// again without using the invite up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RedeemInvite {
    pub auth: InviteAuth,
    pub member_name: MemberName,
    /// The joiner's own IPv4 networks, which the party's subnet must not overlap. At most [`super::party::MAX_LANS`] are read.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::Ipv4Network>))]
    pub lans: Vec<Ipv4Net>,
}
