use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Party;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}`, for its members.
pub async fn get(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Party>, Failure> {
    let state = app.store.party(id, claims.sub).await?;
    Ok(Json(app.party(&state)))
}
