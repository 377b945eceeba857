//! The whole URL map.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use lanrage_shared::api::error::ErrorCode;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::config::{LimitsConfig, Within};
use crate::error::Failure;
use crate::extract::{Peer, Stranger};
use crate::metrics;
use crate::openapi;
use crate::request_id;
use crate::routes::{auth, bans, conflicts, health, invites, members, parties, relay_link, relays, stream};

/// Largest request body, in bytes. Put into every request, so that whoever is refused hears it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxBody(pub(crate) usize);

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
pub fn router(app: AppState, limits: &LimitsConfig) -> Router {
    let (mut router, _) = endpoints().split_for_parts();
    if app.swagger_ui {
        router = router.merge(openapi::swagger_ui());
    }
    let max_body = limits.body_kib.kib();
    let turns = Turns::new(limits.requests_at_once);
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(Extension(MaxBody(max_body)))
        .layer(middleware::from_fn_with_state(
            limits.request_timeout_s.seconds(),
            give_up_late,
        ))
        .layer(middleware::from_fn_with_state(turns, take_turn))
        .layer(middleware::from_fn_with_state(app.metrics.clone(), metrics::count))
        .layer(middleware::from_fn(request_id::name))
        .with_state(app)
}

/// What connections beyond the allowed number get, whatever they ask.
pub fn overload_router() -> Router {
    Router::new()
        .fallback(no_place)
        .layer(middleware::from_fn(request_id::name))
}

async fn no_place(Extension(peer): Extension<Peer>) -> Failure {
    peer.place.refusals().answer();
    Failure::unavailable("the server has too many connections: try again in a moment")
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
pub(crate) async fn give_up_late(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_| Failure::unavailable("the request took too long: try again in a moment"))
}

/// So many requests are answered at once. When the database is slow they pile up, and more would only wait for longer.
#[derive(Clone)]
struct Turns(Arc<Semaphore>);

impl Turns {
    fn new(at_once: Within<1, 100_000>) -> Self {
        Self(Arc::new(Semaphore::new(at_once.count())))
    }
}

/// Answers at once whoever would have to wait. Being alive is said whatever happens: a busy server must not be restarted.
async fn take_turn(State(turns): State<Turns>, request: Request, next: Next) -> Result<Response, Failure> {
    let path = request.extensions().get::<MatchedPath>();
    if path.is_some_and(|path| path.as_str() == "/healthz") {
        return Ok(next.run(request).await);
    }
    let Ok(_turn) = turns.0.try_acquire() else {
        return Err(Failure::unavailable(
            "the server has too much to do: try again in a moment",
        ));
    };
    Ok(next.run(request).await)
}
