//! Swagger UI, for people who read the API's document in a browser. It comes with the program: nothing is loaded from elsewhere.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use lanrage_shared::api::error::ErrorCode;
use utoipa_swagger_ui::Config;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Stranger;

/// Scripts from this server only. Swagger UI has styles in its elements and images in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Its pages, at `/docs/`. They are no part of the API.
pub(crate) fn swagger_ui() -> Router<AppState> {
    Router::new()
        .route("/docs", get(async |_: Stranger| Redirect::permanent("/docs/")))
        .route("/docs/", get(async |_: Stranger| page("")))
        .route(
            "/docs/{file}",
            get(async |_: Stranger, Path(file): Path<String>| page(&file)),
        )
}

fn page(file: &str) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/v1/openapi.json")));
    let Ok(Some(file)) = utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG)) else {
        return Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "there is no such page").into_response();
    };
    let headers: [(HeaderName, &str); 3] = [
        (CONTENT_TYPE, &file.content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, file.bytes.into_owned()).into_response()
}
