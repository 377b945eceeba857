use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Ban;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}/bans`, for the host; oldest first.
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Vec<Ban>>, Failure> {
    let bans = app.store.bans(id, claims.sub).await?.into_iter();
    let bans = bans.map(|ban| Ban {
        device: ban.device,
        name: ban.name,
        banned_at_ms: ban.at_ms,
    });
    Ok(Json(bans.collect()))
}
