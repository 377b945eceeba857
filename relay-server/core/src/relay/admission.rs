//! Who may come in: whoever shows a token of the control server for this relay and proves to own the identity it names.

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::ids::RelayId;
use lanrage_shared::token::{RelayClaims, TokenError, TokenVerifier};
use lanrage_shared::wire::relay::{Hello, hello_proof};

/// Why a hello was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("this relay has not heard of its control server yet; try again in a few seconds or use another relay")]
    NotReady,
    #[error("this is not a relay token of the control server this relay belongs to; get a new one")]
    InvalidToken,
    #[error("the relay token has expired; get a new one, and check the PC's clock")]
    Expired,
    #[error("the relay token is for another relay; get one for this relay")]
    OtherRelay,
    #[error("the hello was not signed for this connection by the device its token names; connect anew")]
    WrongProof,
    #[error("the party has changed since the relay token was made; get a new one")]
    OldEpoch,
    #[error("the new token is another member's; connect anew to use it")]
    OtherMember,
    #[error("this relay is full; use another relay")]
    Full,
    #[error("this relay is about to stop; use another relay")]
    Draining,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 9] = [
        Self::NotReady,
        Self::InvalidToken,
        Self::Expired,
        Self::OtherRelay,
        Self::WrongProof,
        Self::OldEpoch,
        Self::OtherMember,
        Self::Full,
        Self::Draining,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::InvalidToken => "invalid_token",
            Self::Expired => "expired",
            Self::OtherRelay => "other_relay",
            Self::WrongProof => "wrong_proof",
            Self::OldEpoch => "old_epoch",
            Self::OtherMember => "other_member",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }

    /// As the member hears it.
    pub fn to_api_error(self) -> ApiError {
        let code = match self {
            Self::NotReady | Self::Full | Self::Draining => ErrorCode::Unavailable,
            Self::Expired | Self::OldEpoch => ErrorCode::TokenExpired,
            Self::InvalidToken | Self::OtherRelay | Self::WrongProof | Self::OtherMember => ErrorCode::Unauthorized,
        };
        ApiError::new(code, self.to_string())
    }
}

/// What a hello proves, whatever the relay knows of the party: the claims of a token made for this relay, shown by the owner of
/// its identity key on this very connection.
pub(super) fn proven(
    verifier: &TokenVerifier,
    relay: &RelayId,
    hello: &Hello,
    exported: &[u8; 32],
    now_s: u64,
) -> Result<RelayClaims, Refusal> {
    let claims: RelayClaims = verifier.verify(&hello.token, now_s).map_err(|error| match error {
        TokenError::Invalid => Refusal::InvalidToken,
        TokenError::Expired => Refusal::Expired,
    })?;
    if claims.relay != *relay {
        return Err(Refusal::OtherRelay);
    }
    let proof = hello_proof(exported, &hello.token);
    if !claims.identity_key.verifies(&proof, &hello.signature) {
        return Err(Refusal::WrongProof);
    }
    Ok(claims)
}
