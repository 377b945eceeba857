use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, DeviceAt, PartyAt};

/// `DELETE /v1/parties/{id}/bans/{device}`, for the host.
pub async fn lift(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    DeviceAt(banned): DeviceAt,
) -> Result<StatusCode, Failure> {
    app.store.lift_ban(id, claims.sub, banned).await?;
    Ok(StatusCode::NO_CONTENT)
}
