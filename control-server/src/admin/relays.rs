use axum::extract::State;
use axum::response::Response;
use lanrage_shared::api::relay::ListedRelay;

use super::ConsoleState;
use super::operator::Operator;
use crate::error::Failure;
use crate::extract::Page;

/// The relays of the server.
#[utoipa::path(
    get, path = "/admin/v1/relays", tag = "admin", security(("operator" = [])), params(Page),
    responses(
        (status = 200, description = "The relays, by name", body = [ListedRelay]),
        (status = 304, description = "The list is as `If-None-Match` has it"),
    ),
)]
pub(super) async fn relays(State(console): State<ConsoleState>, _: Operator, page: Page) -> Result<Response, Failure> {
    let app = &console.app;
    page.answer(app.relays.list(app.clock.uptime_ms()), |relay: &ListedRelay| {
        relay.id.clone()
    })
}
