use axum::extract::State;
use axum::response::Response;
use lanrage_shared::api::party::Ban;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page, PartyAt};

/// `GET /v1/parties/{id}/bans`, for the host; oldest first.
#[utoipa::path(
    get, path = "/v1/parties/{id}/bans", tag = "bans",
    params(PartyAt, Page),
    responses(
        (status = 200, description = "The bans, oldest first", body = [Ban], headers(
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
    let bans = app.store.bans(id, claims.sub).await?.into_iter();
    let bans = bans.map(|ban| Ban {
        device: ban.device,
        name: ban.name,
        banned_at_ms: ban.at_ms,
    });
    page.answer(bans.collect(), |ban: &Ban| (ban.banned_at_ms, ban.device))
}
