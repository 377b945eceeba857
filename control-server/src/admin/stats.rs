use axum::Json;
use axum::extract::State;

use super::ConsoleState;
use super::operator::Operator;
use crate::metrics::Snapshot;

/// The server in numbers.
#[utoipa::path(
    get, path = "/admin/v1/stats", tag = "admin", security(("operator" = [])),
    responses((status = 200, description = "As of now", body = Snapshot)),
)]
pub(super) async fn stats(State(console): State<ConsoleState>, _: Operator) -> Json<Snapshot> {
    Json(Snapshot::take(&console.app).await)
}
