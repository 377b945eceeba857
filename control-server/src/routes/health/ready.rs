use std::time::Duration;

use axum::Json;
use axum::extract::State;
use lanrage_shared::api::error::{ErrorDetails, FailedCheck};
use lanrage_store::Store;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::AppState;
use crate::error::Failure;

/// Longest wait for the database's answer, so that a load balancer hears in time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the database last said, and when it was asked. Everybody who asks while it is being asked gets the next answer together, so
/// that whoever asks without end costs it little.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Instant, Option<String>)>>);

impl Readiness {
    /// What keeps the database from being used; none when nothing does.
    async fn trouble(&self, store: &Store) -> Option<String> {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((asked, trouble)) = &*last
            && *asked >= came
        {
            return trouble.clone();
        }
        let asked = Instant::now();
        let trouble = match tokio::time::timeout(PATIENCE, store.ready()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Failure::from(error).error.message),
            Err(_) => Some("the server's database does not answer".to_owned()),
        };
        *last = Some((asked, trouble.clone()));
        trouble
    }
}

/// A server that does its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    /// What was looked at. Migrations are done before the server listens.
    checks: Vec<&'static str>,
    /// What it lacks and does its work without, `redis`: replicas hear of one another a moment later.
    lacks: Vec<&'static str>,
}

/// `GET /readyz`: the database answers and can be written to, and where replicas share one, this one hears of changes by it. Nobody is
/// counted: a load balancer may share its address with everybody.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "The server does its work", body = Ready),
        (status = 503, description = "It does not: `details.failed` says what fails, and why"),
    ),
)]
pub async fn ready(State(app): State<AppState>) -> Result<Json<Ready>, Failure> {
    let database = app.readiness.trouble(&app.store).await.map(Failure::unavailable);
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
