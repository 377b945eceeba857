//! New party secrets. Whoever leaves or is removed knows the old one; the host's agent draws the next and seals it to each
//! remaining member, so that the server, which only carries it, never knows any.

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceKey, MemberId};

/// New secrets kept for a member that is away. One who misses more joins again with an invite.
pub const SECRETS_KEPT: u32 = 200;

/// The party secret of an epoch, for one member. Only a holder of the secret before it can have made it or can open it
/// ([`crate::pair::PairKeys::open_secret`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    pub epoch: u32,
    /// Who made it.
    pub from: MemberId,
    /// The key it had then: who was away may never have met it, and it may have left since.
    pub from_key: DeviceKey,
    pub to: MemberId,
    /// Base64url.
    pub sealed: String,
}

/// What the host's agent seals for one member ([`crate::pair::PairKeys::seal_secret`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretFor {
    pub to: MemberId,
    /// Base64url.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{96}$"))]
    pub sealed: String,
}

/// `PUT /v1/parties/{id}/secret` with `If-Match: "<version>"`, host only. Answer: [`super::party::Party`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSecret {
    /// The party's epoch as of that version.
    pub epoch: u32,
    /// One for every other member.
    pub secrets: Vec<SecretFor>,
    /// Invites that go on, sealed anew. All others end, because they lead to a secret that is no more; one the
    /// server does not know is passed over.
    pub invites: Vec<ResealedInvite>,
}

/// An invite that leads to the new secret from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResealedInvite {
    /// Base64url of [`crate::invite::InviteAuth::hash`].
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"))]
    pub auth_hash: String,
    /// Base64url of the new party secret sealed under the code.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_-]{96}$"))]
    pub sealed_secret: String,
}
