use axum::Json;
use axum::extract::State;
use lanrage_shared::api::invite::ListedInvite;
use lanrage_store::InviteRow;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}/invites`, for the host: those that still admit somebody.
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<Vec<ListedInvite>>, Failure> {
    let invites = app.store.invites(id, claims.sub, app.clock.now_ms()).await?;
    let listed = |invite: InviteRow| ListedInvite {
        id: invite.id,
        created_at_ms: invite.created_at_ms,
        expires_at_ms: invite.expires_at_ms,
        max_uses: invite.max_uses,
        uses: invite.uses,
    };
    Ok(Json(invites.into_iter().map(listed).collect()))
}
