use axum::extract::State;
use axum::response::Response;
use lanrage_shared::api::invite::ListedInvite;
use lanrage_store::InviteRow;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page, PartyAt};

/// `GET /v1/parties/{id}/invites`, for the host: those that still admit somebody.
#[utoipa::path(
    get, path = "/v1/parties/{id}/invites", tag = "invites",
    params(PartyAt, Page),
    responses(
        (status = 200, description = "The invites, oldest first", body = [ListedInvite], headers(
            ("ETag" = String, description = "Names this answer, for `If-None-Match`"),
            ("Link" = Option<String>, description = "Where the list goes on, if it does: `<…>; rel=\"next\"`"),
        )),
        (status = 304, description = "The list is as `If-None-Match` has it"),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    page: Page,
) -> Result<Response, Failure> {
    let invites = app.store.invites(id, claims.sub, app.clock.now_ms()).await?;
    let listed = |invite: InviteRow| ListedInvite {
        id: invite.id,
        created_at_ms: invite.created_at_ms,
        expires_at_ms: invite.expires_at_ms,
        max_uses: invite.max_uses,
        uses: invite.uses,
    };
    let invites = invites.into_iter().map(listed).collect();
    page.answer(invites, |invite: &ListedInvite| (invite.created_at_ms, invite.id))
}
