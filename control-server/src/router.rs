//! The whole URL map.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lanrage_shared::api::error::ErrorCode;
use tokio::sync::Semaphore;
use tracing::Instrument;
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

/// Every endpoint with its description. Each but those of health begins with `Device` or `Stranger`, which count the request.
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
    let turns = Turns::new(limits.requests_at_once);
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        // Bodies are whole by then.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(turns, take_turn))
        .layer(middleware::from_fn_with_state(
            RequestAllowance {
                time: limits.request_timeout_s.seconds(),
                max_body: limits.body_kib.kib(),
            },
            give_up_late,
        ))
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

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestAllowance {
    pub(crate) time: Duration,
    pub(crate) max_body: usize,
}

/// Answers whoever takes too long over a body, or waits too long for an answer. A body is read before anything else is done, so that
/// slow ones take nobody's turn. What was begun then is brought to its end, also for somebody who does not wait for the answer: a
/// change that is made has to be told to others.
pub(crate) async fn give_up_late(
    State(allowance): State<RequestAllowance>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let answer = async {
        let request = whole(request, allowance.max_body).await?;
        match tokio::spawn(next.run(request).in_current_span()).await {
            Ok(response) => Ok(response),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(_) => Err(Failure::unavailable("the server stops: try again in a moment")),
            },
        }
    };
    tokio::time::timeout(allowance.time, answer)
        .await
        .map_err(|_| Failure::unavailable("the request took too long: try again in a moment"))?
}

/// The request with all of its body.
async fn whole(request: Request, max_body: usize) -> Result<Request, Failure> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, max_body).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("the request is larger than {} KiB", max_body / 1024);
            return Failure::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, message);
        }
        Failure::bad_request("the request's body ends in the middle")
    })?;
    Ok(Request::from_parts(head, Body::from(body.to_bytes())))
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::poll;
    use tokio::sync::{Notify, mpsc};
    use tower::ServiceExt;

    use super::*;

    const ALLOWANCE: RequestAllowance = RequestAllowance {
        time: Duration::from_secs(60),
        max_body: 1024,
    };

    #[tokio::test]
    async fn what_was_begun_is_finished_for_somebody_who_has_gone() {
        let (made, told) = (Arc::new(Notify::new()), mpsc::channel(1));
        let ((tell, mut told), wait) = (told, Arc::clone(&made));
        let change = async move || {
            wait.notified().await;
            let _ = tell.send(()).await;
        };
        let router = Router::new()
            .route("/", get(change))
            .layer(middleware::from_fn_with_state(ALLOWANCE, give_up_late));
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let mut answer = Box::pin(router.oneshot(request));
        assert!(poll!(&mut answer).is_pending());
        drop(answer);
        made.notify_one();
        assert_eq!(told.recv().await, Some(()));
    }
}
