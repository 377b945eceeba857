use axum::Json;
use axum::extract::State;
use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::api::party::{RemoveMember, Removed};
use lanrage_store::Removal;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Device, IfMatch, MemberAt, PartyAt};

/// `POST /v1/parties/{id}/members/{number}/remove`, for the host, while the party has the version of `If-Match`.
#[utoipa::path(
    post, path = "/v1/parties/{id}/members/{number}/remove", tag = "members",
    params(PartyAt, MemberAt, IfMatch),
    request_body = RemoveMember,
    responses(
        (status = 200, description = "The party as it is now", body = Removed),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party or member, or the caller is not in it"),
    ),
)]
pub async fn remove(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    MemberAt(member): MemberAt,
    IfMatch(expected): IfMatch,
    Body(request): Body<RemoveMember>,
) -> Result<Json<Removed>, Failure> {
    let removal = Removal {
        member,
        ban: request.ban,
    };
    let now_ms = app.clock.now_ms();
    let removed = app
        .store
        .remove_member(id, claims.sub, expected, removal, now_ms)
        .await?;
    tracing::debug!(%member, ban = request.ban, "a member was removed");
    app.announce(&removed.changed);
    Ok(Json(Removed {
        party: app.party(&removed.state),
        ended_invite: removed.ended_invite.map(|hash| BASE64URL_NOPAD.encode(&hash)),
    }))
}
