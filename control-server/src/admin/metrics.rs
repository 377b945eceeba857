use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use lanrage_observe::metrics::{TEXT, text};

use super::{Console, ConsoleState};
use crate::error::Failure;
use crate::metrics::{Snapshot, SoftState};

/// For Prometheus. It names nobody, so it needs no token.
#[utoipa::path(
    get, path = "/metrics", tag = "admin", security(()),
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(State(console): State<ConsoleState>) -> Result<impl IntoResponse, Failure> {
    let Console { app, .. } = &*console;
    let registry = app
        .metrics
        .registry(Snapshot::take(app).await, SoftState::of(app), app.places.refusals());
    let text = text(&registry).map_err(|_| Failure::unavailable("the metrics cannot be written"))?;
    Ok(([(CONTENT_TYPE, TEXT)], text))
}
