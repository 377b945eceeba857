use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, InviteAt, PartyAt};

/// `DELETE /v1/parties/{id}/invites/{invite}`, for the host: it admits nobody any more. Whoever came in with it stays.
#[utoipa::path(
    delete, path = "/v1/parties/{id}/invites/{invite}", tag = "invites",
    params(PartyAt, InviteAt),
    responses(
        (status = 204, description = "The invite admits nobody any more"),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party or invite, or the caller is not in the party"),
    ),
)]
pub async fn revoke(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    InviteAt(invite): InviteAt,
) -> Result<StatusCode, Failure> {
    app.store.revoke_invite(id, claims.sub, invite).await?;
    tracing::debug!(%invite, "an invite was revoked");
    Ok(StatusCode::NO_CONTENT)
}
