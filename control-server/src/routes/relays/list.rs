use axum::extract::State;
use axum::response::Response;
use lanrage_shared::api::relay::ListedRelay;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, Page};

/// `GET /v1/relays`, for every device: the relays of this server and how they are.
#[utoipa::path(
    get, path = "/v1/relays", tag = "relays",
    params(Page),
    responses(
        (status = 200, description = "The relays, by name", body = [ListedRelay], headers(
            ("ETag" = String, description = "Names this answer, for `If-None-Match`"),
            ("Link" = Option<String>, description = "Where the list goes on, if it does: `<…>; rel=\"next\"`"),
        )),
        (status = 304, description = "The list is as `If-None-Match` has it"),
    ),
)]
pub async fn list(State(app): State<AppState>, _: Device, page: Page) -> Result<Response, Failure> {
    page.answer(app.relays.list(app.clock.uptime_ms()), |relay: &ListedRelay| {
        relay.id.clone()
    })
}
