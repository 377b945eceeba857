use axum::Json;
use axum::extract::State;
use lanrage_shared::api::auth::{TokenRequest, TokenResponse};

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Stranger};

/// `POST /v1/auth/token`: a token for a signed challenge.
#[utoipa::path(
    post, path = "/v1/auth/token", tag = "auth",
    security(()),
    request_body = TokenRequest,
    responses(
        (status = 200, description = "The token", body = TokenResponse),
        (status = 401, description = "The challenge is too old, or the signature proves nothing"),
    ),
)]
pub async fn token(
    State(app): State<AppState>,
    _: Stranger,
    Body(request): Body<TokenRequest>,
) -> Result<Json<TokenResponse>, Failure> {
    app.authority.token(&request, app.clock.now_ms()).map(Json)
}
