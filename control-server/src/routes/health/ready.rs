use std::time::Duration;

use axum::extract::State;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Stranger;

/// Longest wait for the database's answer, so that a load balancer hears in time.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /readyz`: the database answers.
pub async fn ready(State(app): State<AppState>, _: Stranger) -> Result<&'static str, Failure> {
    match tokio::time::timeout(PATIENCE, app.store.ready()).await {
        Ok(outcome) => outcome.map(|()| "ready\n").map_err(Failure::from),
        Err(_) => Err(Failure::unavailable("the server's database does not answer")),
    }
}
