use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, InviteAt, PartyAt};

/// `DELETE /v1/parties/{id}/invites/{invite}`, for the host: it admits nobody any more. Whoever came in with it stays.
pub async fn revoke(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    InviteAt(invite): InviteAt,
) -> Result<StatusCode, Failure> {
    app.store.revoke_invite(id, claims.sub, invite).await?;
    tracing::debug!(party = %id, device = %claims.sub, %invite, "an invite was revoked");
    Ok(StatusCode::NO_CONTENT)
}
