use axum::extract::State;
use axum::response::Response;
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
        )),
        (status = 304, description = "The list is as `If-None-Match` has it"),
    ),
)]
pub async fn list(State(app): State<AppState>, Device(claims): Device, page: Page) -> Result<Response, Failure> {
    let states = app.store.parties_of(claims.sub).await?;
    let parties = states.iter().map(|state| app.party(state)).collect();
    page.answer(parties, |party: &Party| party.id)
}
