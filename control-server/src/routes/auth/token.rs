use axum::Json;
use axum::extract::State;
use lanrage_shared::api::auth::{TokenRequest, TokenResponse};

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Stranger};

/// `POST /v1/auth/token`: a token for a signed challenge.
pub async fn token(
    State(app): State<AppState>,
    _: Stranger,
    Body(request): Body<TokenRequest>,
) -> Result<Json<TokenResponse>, Failure> {
    app.authority.token(&request, app.clock.now_ms()).map(Json)
}
