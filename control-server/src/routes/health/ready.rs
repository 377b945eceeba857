use std::time::Duration;

use axum::Json;
use axum::extract::State;
use lanrage_shared::api::error::{ErrorDetails, FailedCheck};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Stranger;

/// Longest wait for the database's answer, so that a load balancer hears in time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server that does its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    /// What was looked at. Migrations are done before the server listens.
    checks: Vec<&'static str>,
}

/// `GET /readyz`: the database answers.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "The server does its work", body = Ready),
        (status = 503, description = "It does not: `details.failed` says what fails, and why"),
    ),
)]
pub async fn ready(State(app): State<AppState>, _: Stranger) -> Result<Json<Ready>, Failure> {
    let failure = match tokio::time::timeout(PATIENCE, app.store.ready()).await {
        Ok(Ok(())) => {
            return Ok(Json(Ready {
                ready: true,
                checks: vec!["database"],
            }));
        }
        Ok(Err(error)) => Failure::from(error),
        Err(_) => Failure::unavailable("the server's database does not answer"),
    };
    let failed = FailedCheck {
        check: "database".to_owned(),
        why: failure.error.message.clone(),
    };
    Err(failure.with(ErrorDetails {
        failed: vec![failed],
        ..ErrorDetails::default()
    }))
}
