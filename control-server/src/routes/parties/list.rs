use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lanrage_shared::api::party::Party;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page};

/// `GET /v1/parties`: the parties the caller is in.
#[utoipa::path(
    get, path = "/v1/parties", tag = "parties",
    params(Page),
    responses(
        (status = 200, description = "The parties, by id", body = [Party], headers(
            ("ETag" = String, description = "Names this answer, for `If-None-Match`"),
            ("Link" = Option<String>, description = "Where the list goes on, if it does: `<…>; rel=\"next\"`"),
            ("Age" = Option<u64>, description = "Seconds the database has not answered: the answer is what the server last knew"),
        )),
        (status = 304, description = "The list is as `If-None-Match` has it"),
    ),
)]
pub async fn list(State(app): State<AppState>, Device(claims): Device, page: Page) -> Result<Response, Failure> {
    let seen = app.parties_of(claims.sub).await?;
    let answer = page.answer(seen.value, |party: &Party| party.id)?;
    Ok((seen.age, answer).into_response())
}
