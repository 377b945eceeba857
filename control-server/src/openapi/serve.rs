use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::{document, to_text};
use crate::extract::Stranger;

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)),
)]
pub async fn show(_: Stranger) -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| to_text(&document()));
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}
