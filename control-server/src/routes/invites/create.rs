use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lanrage_shared::api::invite::{InviteCreated, NewInvite};

use super::new_invite;
use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Device, PartyAt};

/// `POST /v1/parties/{id}/invites`, for the host.
#[utoipa::path(
    post, path = "/v1/parties/{id}/invites", tag = "invites",
    params(PartyAt),
    request_body = NewInvite,
    responses(
        (status = 201, description = "The invite", body = InviteCreated),
        (status = 403, description = "The caller is not the host, or the party has too many invites"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
        (status = 409, description = "The party's secret is of another epoch than `secret_epoch` (`version_conflict`)"),
    ),
)]
pub async fn create(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    Body(request): Body<NewInvite>,
) -> Result<(StatusCode, Json<InviteCreated>), Failure> {
    let now_ms = app.clock.now_ms();
    let invite = new_invite(&request, now_ms)?;
    let created = app.store.create_invite(id, claims.sub, &invite, now_ms).await?;
    Ok((StatusCode::CREATED, Json(created)))
}
