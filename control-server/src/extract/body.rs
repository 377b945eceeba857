//! A JSON body.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use lanrage_shared::api::error::ErrorCode;
use serde::de::DeserializeOwned;

use crate::error::Failure;
use crate::router::MaxBody;

/// The request's body as `T`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let most = request.extensions().get::<MaxBody>().copied();
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refuse(&rejection, most)),
        }
    }
}

fn refuse(rejection: &JsonRejection, most: Option<MaxBody>) -> Failure {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::TooLarge,
            match most {
                Some(MaxBody(bytes)) => format!("the request is larger than {} KiB", bytes / 1024),
                None => "the request is too large".to_owned(),
            },
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::BadRequest,
            "the request must be JSON and say so with Content-Type: application/json",
        ),
        _ => {
            // "Failed to …: <which field, and how>": the latter is about the request, the former about our types.
            let text = rejection.body_text();
            let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
            Failure::bad_request(format!("the request cannot be read: {reason}"))
        }
    }
}
