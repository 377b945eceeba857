use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Member;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}/members`, for its members.
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Vec<Member>>, Failure> {
    let state = app.store.party(id, claims.sub).await?;
    Ok(Json(app.party(&state).members))
}
