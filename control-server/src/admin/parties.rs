use axum::extract::State;
use axum::response::Response;

use super::operator::Operator;
use super::shapes::AdminParty;
use super::{Console, ConsoleState};
use crate::error::Failure;
use crate::extract::Page;

/// Every party of the server.
#[utoipa::path(
    get, path = "/admin/v1/parties", tag = "admin", security(("operator" = [])), params(Page),
    responses(
        (status = 200, description = "The parties, by id", body = [AdminParty]),
        (status = 304, description = "The list is as `If-None-Match` has it"),
    ),
)]
pub(super) async fn parties(State(console): State<ConsoleState>, _: Operator, page: Page) -> Result<Response, Failure> {
    let Console { app, .. } = &*console;
    // One more than wanted shows whether the list goes on.
    let limit = u32::try_from(page.limit() + 1).unwrap_or(u32::MAX);
    let states = app.store.parties_after(page.after()?, limit).await?;
    let parties = states.iter().map(|state| AdminParty::of(app, state)).collect();
    page.answer(parties, |party: &AdminParty| party.id)
}
