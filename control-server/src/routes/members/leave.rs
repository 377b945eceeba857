use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `DELETE /v1/parties/{id}/members/me`: the caller leaves.
#[utoipa::path(
    delete, path = "/v1/parties/{id}/members/me", tag = "members",
    params(PartyAt),
    responses(
        (status = 204, description = "The caller is no longer a member"),
        (status = 403, description = "The caller is not a member any more"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn leave(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<StatusCode, Failure> {
    let changed = app.store.leave_party(id, claims.sub, app.clock.now_ms()).await?;
    tracing::debug!("a member left");
    app.announce(&changed);
    Ok(StatusCode::NO_CONTENT)
}
