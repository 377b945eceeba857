use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, IfMatch, PartyAt};

/// `DELETE /v1/parties/{id}`, for its host; with `If-Match`, only while the party has that version.
#[utoipa::path(
    delete, path = "/v1/parties/{id}", tag = "parties",
    params(PartyAt, ("If-Match" = Option<String>, Header, description = "The party's version that is to end, in quotes: `\"7\"`")),
    responses(
        (status = 204, description = "The party is no more"),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn delete(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    expected: Option<IfMatch>,
) -> Result<StatusCode, Failure> {
    let expected = expected.map(|IfMatch(version)| version);
    let now_ms = app.clock.now_ms();
    let changed = app.store.delete_party(id, claims.sub, expected, now_ms).await?;
    tracing::debug!("a party was deleted");
    app.announce(&changed);
    Ok(StatusCode::NO_CONTENT)
}
