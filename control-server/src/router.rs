//! The whole URL map.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use lanrage_shared::api::error::ErrorCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Stranger;
use crate::metrics;
use crate::openapi;
use crate::request_id;
use crate::routes::{auth, bans, conflicts, health, invites, members, parties, relay_link, relays, stream};

/// Largest request body, in bytes: sixteen times what the largest request of ours takes.
pub const MAX_BODY: usize = 64 * 1024;
/// Longest a request may take, a slow sender's body included. The store gives up sooner.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Every endpoint with its description. Each begins with `Device` or `Stranger`, which count the request.
pub(crate) fn endpoints() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::shapes())
        .routes(routes!(auth::challenge))
        .routes(routes!(auth::token))
        .routes(routes!(parties::create, parties::list))
        .routes(routes!(parties::get, parties::update, parties::delete))
        .routes(routes!(members::list))
        .routes(routes!(members::leave))
        .routes(routes!(members::remove))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(conflicts::list))
        .routes(routes!(parties::move_party))
        .routes(routes!(parties::renew_secret))
        .routes(routes!(relays::tokens))
        .routes(routes!(relays::list))
        .routes(routes!(invites::create, invites::list))
        .routes(routes!(invites::revoke))
        .routes(routes!(invites::redeem))
        .routes(routes!(stream::open))
        .routes(routes!(relay_link::open))
        .routes(routes!(openapi::show))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
}

/// What answers.
pub fn router(app: AppState) -> Router {
    let (mut router, _) = endpoints().split_for_parts();
    if app.swagger_ui {
        router = router.merge(openapi::swagger_ui());
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(give_up_late))
        .layer(middleware::from_fn_with_state(app.metrics.clone(), metrics::count))
        .layer(middleware::from_fn(request_id::name))
        .with_state(app)
}

/// What connections beyond the allowed number get, whatever they ask.
pub fn overload_router() -> Router {
    Router::new()
        .fallback(async || Failure::unavailable("the server has too many connections: try again in a moment"))
        .layer(middleware::from_fn(request_id::name))
}

async fn nothing_here(_: Stranger) -> Failure {
    let message = "there is nothing at this path: is the agent newer than the server?";
    Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

async fn wrong_method(_: Stranger) -> Failure {
    let message = "this path does not take this method";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, message)
}

/// Answers whoever takes too long over a body, or waits too long for an answer.
pub(crate) async fn give_up_late(request: Request, next: Next) -> Result<Response, Failure> {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .map_err(|_| Failure::unavailable("the request took too long: try again in a moment"))
}
