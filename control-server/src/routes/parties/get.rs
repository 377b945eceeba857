use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Party;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}`, for its members.
#[utoipa::path(
    get, path = "/v1/parties/{id}", tag = "parties",
    params(PartyAt),
    responses(
        (status = 200, description = "The party", body = Party),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn get(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Party>, Failure> {
    let state = app.store.party(id, claims.sub).await?;
    Ok(Json(app.party(&state)))
}
