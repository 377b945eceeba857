use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lanrage_shared::api::party::Member;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page, PartyAt};

/// `GET /v1/parties/{id}/members`, for its members.
#[utoipa::path(
    get, path = "/v1/parties/{id}/members", tag = "members",
    params(PartyAt, Page),
    responses(
        (status = 200, description = "The members, by number", body = [Member], headers(
            ("ETag" = String, description = "Names this answer, for `If-None-Match`"),
            ("Link" = Option<String>, description = "Where the list goes on, if it does: `<…>; rel=\"next\"`"),
            ("Age" = Option<u64>, description = "Seconds the database has not answered: the answer is what the server last knew"),
        )),
        (status = 304, description = "The list is as `If-None-Match` has it"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn list(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    page: Page,
) -> Result<Response, Failure> {
    let seen = app.party_of(id, claims.sub).await?;
    let answer = page.answer(seen.value.members, |member: &Member| member.id)?;
    Ok((seen.age, answer).into_response())
}
