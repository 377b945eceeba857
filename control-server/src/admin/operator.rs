use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::ConsoleState;
use crate::error::Failure;
use crate::extract::bearer;

/// Whoever shows the admin token.
#[derive(Debug)]
pub(super) struct Operator;

impl FromRequestParts<ConsoleState> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, console: &ConsoleState) -> Result<Self, Failure> {
        let shown = bearer(&parts.headers).unwrap_or_default();
        match console.token.accepts(shown) {
            Ok(true) => Ok(Self),
            Ok(false) => Err(Failure::unauthorized(
                "this needs the admin token: it is in the file admin-token of the server's data directory",
            )),
            Err(error) => {
                tracing::warn!(%error, "the operator cannot be known");
                Err(Failure::unavailable(
                    "the server cannot read its admin token; its log says why",
                ))
            }
        }
    }
}
