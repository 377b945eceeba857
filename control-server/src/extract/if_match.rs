//! The version a change is meant for.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use lanrage_shared::api::error::ErrorCode;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::parameter;
use crate::error::Failure;

/// `If-Match: "<version>"`.
#[derive(Debug)]
pub struct IfMatch(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        expected(parts)?.ok_or_else(|| {
            Failure::new(
                StatusCode::PRECONDITION_REQUIRED,
                ErrorCode::BadRequest,
                "say which version you change, with If-Match: \"<version>\"",
            )
        })
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameter = parameter::<String>(
            ParameterIn::Header,
            "If-Match",
            "The party's version that is to be changed, in quotes: `\"7\"`",
        );
        let quoted = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^\"[0-9]{1,18}\"$"));
        parameter.schema = Some(quoted.into());
        vec![parameter]
    }
}

/// Where any version will do unless one is named.
impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Failure> {
        expected(parts)
    }
}

fn expected(parts: &Parts) -> Result<Option<IfMatch>, Failure> {
    let Some(header) = parts.headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = header.to_str().ok();
    text.and_then(version)
        .map(|version| Some(IfMatch(version)))
        .ok_or_else(|| Failure::bad_request("If-Match must hold the party's version, a number in quotes"))
}

/// One number, in quotes or without any.
fn version(text: &str) -> Option<u64> {
    let text = text.trim();
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = quoted.unwrap_or(text);
    // A number may also begin with a sign.
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_a_version_and_nothing_else_is() {
        for text in ["\"7\"", "7", " \"7\" "] {
            assert_eq!(version(text), Some(7), "{text}");
        }
        for text in [
            "",
            "\"\"",
            "\"\"7\"\"",
            "\"7",
            "7\"",
            "\"+7\"",
            "-7",
            "\" 7\"",
            "W/\"7\"",
            "*",
            "\"7\", \"8\"",
        ] {
            assert_eq!(version(text), None, "{text}");
        }
    }
}
