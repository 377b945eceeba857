use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lanrage_shared::api::invite::{InviteCreated, NewInvite};

use super::new_invite;
use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Device, PartyAt};

/// `POST /v1/parties/{id}/invites`, for the host.
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
