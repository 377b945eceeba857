use axum::extract::State;
use axum::http::StatusCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, IfMatch, PartyAt};

/// `DELETE /v1/parties/{id}`, for its host; with `If-Match`, only while the party has that version.
pub async fn delete(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    expected: Option<IfMatch>,
) -> Result<StatusCode, Failure> {
    let expected = expected.map(|IfMatch(version)| version);
    let now_ms = app.clock.now_ms();
    let changed = app.store.delete_party(id, claims.sub, expected, now_ms).await?;
    tracing::debug!(party = %id, device = %claims.sub, "a party was deleted");
    app.announce(&changed);
    Ok(StatusCode::NO_CONTENT)
}
