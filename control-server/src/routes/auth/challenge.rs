use axum::Json;
use axum::extract::State;
use lanrage_shared::api::auth::{Challenge, ChallengeRequest};

use crate::app::AppState;
use crate::extract::{Body, Stranger};

/// `POST /v1/auth/challenge`: something to sign.
#[utoipa::path(
    post, path = "/v1/auth/challenge", tag = "auth",
    security(()),
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "What to sign", body = Challenge),
    ),
)]
pub async fn challenge(
    State(app): State<AppState>,
    _: Stranger,
    Body(request): Body<ChallengeRequest>,
) -> Json<Challenge> {
    Json(app.authority.challenge(&request.identity_key, app.clock.now_ms()))
}
