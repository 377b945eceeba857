use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, DeviceAt, PartyAt};

/// `DELETE /v1/parties/{id}/bans/{device}`, for the host.
#[utoipa::path(
    delete, path = "/v1/parties/{id}/bans/{device}", tag = "bans",
    params(PartyAt, DeviceAt),
    responses(
        (status = 204, description = "The device is no longer banned"),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the device is not banned"),
    ),
)]
pub async fn lift(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    DeviceAt(banned): DeviceAt,
) -> Result<StatusCode, Failure> {
    app.store.lift_ban(id, claims.sub, banned).await?;
    Ok(StatusCode::NO_CONTENT)
}
