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
    /// What it lacks and does its work without, `redis`: replicas hear of one another a moment later.
    lacks: Vec<&'static str>,
}

/// `GET /readyz`: the database answers, and where replicas share one, this one hears of changes by it.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "The server does its work", body = Ready),
        (status = 503, description = "It does not: `details.failed` says what fails, and why"),
    ),
)]
pub async fn ready(State(app): State<AppState>, _: Stranger) -> Result<Json<Ready>, Failure> {
    let database = match tokio::time::timeout(PATIENCE, app.store.ready()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Failure::from(error)),
        Err(_) => Some(Failure::unavailable("the server's database does not answer")),
    };
    let feed = (app.store.is_shared() && !app.replicas.hears()).then(|| {
        Failure::unavailable("this server does not hear what others change: try another one, or wait a moment")
    });
    let failed = [("database", &database), ("feed", &feed)];
    let failed = failed.into_iter().filter_map(|(check, failure)| {
        Some(FailedCheck {
            check: check.to_owned(),
            why: failure.as_ref()?.error.message.clone(),
        })
    });
    let failed = failed.collect();
    match database.or(feed) {
        Some(failure) => Err(failure.with(ErrorDetails {
            failed,
            ..ErrorDetails::default()
        })),
        None => Ok(Json(Ready {
            ready: true,
            checks: match app.store.is_shared() {
                true => vec!["database", "feed"],
                false => vec!["database"],
            },
            lacks: app.replicas.lacks_redis().then_some("redis").into_iter().collect(),
        })),
    }
}
