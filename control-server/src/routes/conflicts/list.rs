use axum::Json;
use axum::extract::State;
use lanrage_shared::api::conflict::SoftConflict;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}/conflicts`, for members: what replicas wrote of the party's members at once, the newest first.
#[utoipa::path(
    get, path = "/v1/parties/{id}/conflicts", tag = "parties",
    params(PartyAt),
    responses(
        (status = 200, description = "The conflicts that are remembered, the newest first", body = [SoftConflict]),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Vec<SoftConflict>>, Failure> {
    app.party_of(id, claims.sub).await?;
    Ok(Json(app.roster.conflicts(id)))
}
