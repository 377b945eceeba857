//! The device that asks.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::token::{AccessClaims, TokenError};

use super::peer::Peer;
use crate::app::AppState;
use crate::error::Failure;

/// What the caller's token says: `Authorization: Bearer …`.
#[derive(Debug)]
pub struct Device(pub AccessClaims);

impl FromRequestParts<AppState> for Device {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Failure> {
        let verdict = bearer(&parts.headers)
            .ok_or_else(|| Failure::unauthorized("this needs a token: ask for one with POST /v1/auth/challenge"))
            .and_then(|token| {
                let now_ms = app.clock.now_ms();
                app.authority.verify(token, now_ms).map_err(refuse)
            });
        let address = Peer::of(parts)?.address.ip();
        let counted = match &verdict {
            Ok(claims) => app.limits.device(claims.sub, address),
            // Whoever guesses tokens is a stranger.
            Err(_) => app.limits.stranger(address),
        };
        counted.map_err(Failure::rate_limited)?;
        let claims = verdict?;
        tracing::Span::current().record("device", tracing::field::display(claims.sub));
        Ok(Self(claims))
    }
}

/// The token of an `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(error: TokenError) -> Failure {
    let (code, message) = match error {
        TokenError::Invalid => (ErrorCode::Unauthorized, "this token is not one of this server"),
        TokenError::Expired => (ErrorCode::TokenExpired, "this token has expired: ask for a new one"),
    };
    Failure::new(StatusCode::UNAUTHORIZED, code, message)
}
