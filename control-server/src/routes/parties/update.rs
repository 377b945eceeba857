use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_store::Patch;

use super::check_max_members;
use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Device, IfMatch, PartyAt};

/// `PATCH /v1/parties/{id}`, for its host, while it has the version of `If-Match`.
#[utoipa::path(
    patch, path = "/v1/parties/{id}", tag = "parties",
    params(PartyAt, IfMatch),
    request_body = UpdateParty,
    responses(
        (status = 200, description = "The party as it is now", body = Party),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn update(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    IfMatch(expected): IfMatch,
    Body(request): Body<UpdateParty>,
) -> Result<Json<Party>, Failure> {
    let patch = Patch {
        name: request.name,
        persistent: request.persistent,
        max_members: request.max_members.map(check_max_members).transpose()?,
        locked: request.locked,
        host: request.host,
    };
    let now_ms = app.clock.now_ms();
    let (state, changed) = app.store.update_party(id, claims.sub, expected, &patch, now_ms).await?;
    app.announce(&changed);
    Ok(Json(app.party(&state)))
}
