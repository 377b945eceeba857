use axum::extract::State;
use axum::response::Response;

use super::ConsoleState;
use super::operator::Operator;
use super::shapes::AdminMember;
use crate::error::Failure;
use crate::extract::{Page, PartyAt};

/// Every member of a party.
#[utoipa::path(
    get, path = "/admin/v1/parties/{id}/members", tag = "admin", security(("operator" = [])), params(PartyAt, Page),
    responses(
        (status = 200, description = "The members, by number", body = [AdminMember]),
        (status = 304, description = "The list is as `If-None-Match` has it"),
        (status = 404, description = "There is no such party"),
    ),
)]
pub(super) async fn members(
    State(console): State<ConsoleState>,
    _: Operator,
    PartyAt(id): PartyAt,
    page: Page,
) -> Result<Response, Failure> {
    let state = console.app.store.any_party(id).await?;
    page.answer(AdminMember::all_of(&console.app, &state), |member: &AdminMember| {
        member.id
    })
}
