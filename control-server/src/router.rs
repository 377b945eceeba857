//! The whole URL map.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use lanrage_shared::api::error::ErrorCode;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Stranger;
use crate::routes::{auth, bans, conflicts, health, invites, members, parties, relay_link, relays, stream};

/// Largest request body, in bytes: sixteen times what the largest request of ours takes.
pub const MAX_BODY: usize = 64 * 1024;
/// Longest a request may take, a slow sender's body included. The store gives up sooner.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Every endpoint. Each begins with `Device` or `Stranger`, which count the request.
pub fn router(app: AppState) -> Router {
    Router::new()
        .route("/v1/auth/challenge", post(auth::challenge))
        .route("/v1/auth/token", post(auth::token))
        .route("/v1/parties", post(parties::create).get(parties::list))
        .route(
            "/v1/parties/{id}",
            get(parties::get).patch(parties::update).delete(parties::delete),
        )
        .route("/v1/parties/{id}/members", get(members::list))
        .route("/v1/parties/{id}/members/me", delete(members::leave))
        .route("/v1/parties/{id}/members/{number}/remove", post(members::remove))
        .route("/v1/parties/{id}/bans", get(bans::list))
        .route("/v1/parties/{id}/bans/{device}", delete(bans::lift))
        .route("/v1/parties/{id}/conflicts", get(conflicts::list))
        .route("/v1/parties/{id}/network", post(parties::move_party))
        .route("/v1/parties/{id}/secret", put(parties::renew_secret))
        .route("/v1/parties/{id}/relay-tokens", post(relays::tokens))
        .route("/v1/relays", get(relays::list))
        .route("/v1/parties/{id}/invites", post(invites::create).get(invites::list))
        .route("/v1/parties/{id}/invites/{invite}", delete(invites::revoke))
        .route("/v1/invites/redeem", post(invites::redeem))
        .route("/v1/stream", get(stream::open))
        .route("/v1/relay-link", get(relay_link::open))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(give_up_late))
        .with_state(app)
}

/// What connections beyond the allowed number get, whatever they ask.
pub fn overload_router() -> Router {
    Router::new().fallback(async || Failure::unavailable("the server has too many connections: try again in a moment"))
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
