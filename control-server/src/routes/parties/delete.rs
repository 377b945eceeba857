use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `DELETE /v1/parties/{id}`, for its host.
#[utoipa::path(
    delete, path = "/v1/parties/{id}", tag = "parties",
    params(PartyAt),
    responses(
        (status = 204, description = "The party is no more"),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn delete(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<StatusCode, Failure> {
    let changed = app.store.delete_party(id, claims.sub, app.clock.now_ms()).await?;
    tracing::debug!("a party was deleted");
    app.announce(&changed);
    Ok(StatusCode::NO_CONTENT)
}
