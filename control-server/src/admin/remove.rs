use axum::extract::State;
use axum::http::StatusCode;

use super::ConsoleState;
use super::operator::Operator;
use crate::error::Failure;
use crate::extract::{MemberAt, PartyAt};

/// Removes a member, the host too: then whoever has been there longest becomes host.
#[utoipa::path(
    post, path = "/admin/v1/parties/{id}/members/{number}/remove", tag = "admin", security(("operator" = [])),
    params(PartyAt, MemberAt),
    responses(
        (status = 204, description = "The member is no longer one"),
        (status = 404, description = "There is no such party or member"),
    ),
)]
pub(super) async fn remove(
    State(console): State<ConsoleState>,
    _: Operator,
    PartyAt(id): PartyAt,
    MemberAt(member): MemberAt,
) -> Result<StatusCode, Failure> {
    let app = &console.app;
    let changed = app.store.expel(id, member, app.clock.now_ms()).await?;
    tracing::info!(%member, "the operator removed a member");
    app.announce(&changed);
    Ok(StatusCode::NO_CONTENT)
}
