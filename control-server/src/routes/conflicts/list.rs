use std::cmp::Reverse;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lanrage_shared::api::conflict::SoftConflict;
use serde::Serialize;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page, PartyAt};

/// A conflict in its place in the list.
#[derive(Serialize)]
struct Listed {
    #[serde(skip)]
    number: u64,
    #[serde(flatten)]
    conflict: SoftConflict,
}

/// `GET /v1/parties/{id}/conflicts`, for members: what replicas wrote of the party's members at once, the newest first. Each replica
/// lists what it has seen since it started, the newest 1000 of all parties together.
#[utoipa::path(
    get, path = "/v1/parties/{id}/conflicts", tag = "parties",
    params(PartyAt, Page),
    responses(
        (status = 200, description = "The conflicts that are remembered, the newest first", body = [SoftConflict], headers(
            ("ETag" = String, description = "Names this answer, for `If-None-Match`"),
            ("Link" = Option<String>, description = "Where the list goes on, if it does: `<…>; rel=\"next\"`"),
            ("Age" = Option<u64>, description = "Seconds the database has not answered: the caller was a member then"),
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
    let conflicts = app.roster.conflicts(id).into_iter();
    let listed = conflicts.map(|(number, conflict)| Listed { number, conflict });
    let answer = page.answer(listed.collect(), |listed: &Listed| Reverse(listed.number))?;
    Ok((seen.age, answer).into_response())
}
