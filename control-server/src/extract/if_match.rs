//! The version a change is meant for.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use lanrage_shared::api::error::ErrorCode;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::parameter;
use crate::error::Failure;

/// `If-Match: "<version>"`.
#[derive(Debug)]
pub struct IfMatch(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let header = parts.headers.get(IF_MATCH).ok_or_else(|| {
            Failure::new(
                StatusCode::PRECONDITION_REQUIRED,
                ErrorCode::BadRequest,
                "say which version you change, with If-Match: \"<version>\"",
            )
        })?;
        let version = header
            .to_str()
            .ok()
            .and_then(|text| text.trim().trim_matches('"').parse().ok());
        version
            .map(Self)
            .ok_or_else(|| Failure::bad_request("If-Match must hold the party's version, a number in quotes"))
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameter::<String>(
            ParameterIn::Header,
            "If-Match",
            "The party's version that is to be changed, in quotes: `\"7\"`",
        )]
    }
}
