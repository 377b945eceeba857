//! The API in words for programs: OpenAPI 3.1, made from the very list of routes that the router is made from, so that there is
//! no endpoint without a description.
//!
//! An endpoint names what only it can say; what follows from its shape is added here, to all of them alike (`complete`).

mod complete;
mod serve;
mod swagger;

use lanrage_shared::api::error::ApiError;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::serve::*;
pub(crate) use self::swagger::swagger_ui;
use crate::router::endpoints;

/// The public API.
pub fn document() -> Value {
    let description = "Parties, invites, members and relays of one LANrage server. Every refusal has the shape of ApiError: \
        programs branch on its code. Every answer names its request in X-Request-Id, which a client may choose.";
    described(endpoints(), "LANrage control API", description)
}

/// What every document speaks of: refusals, and who may ask.
pub(crate) fn shapes() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(components(schemas(ApiError)), security(("device" = [])))]
    struct Shapes;
    Shapes::openapi()
}

/// As it is checked in and served.
pub fn to_text(document: &Value) -> String {
    format!("{document:#}\n")
}

pub(crate) fn described<S>(router: OpenApiRouter<S>, title: &str, description: &str) -> Value
where
    S: Clone + Send + Sync + 'static,
{
    let mut document = serde_json::to_value(router.into_openapi()).unwrap_or_default();
    document["info"] = json!({
        "title": title,
        "description": description,
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
    });
    complete::complete(&mut document);
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_that_are_checked_in_are_those_that_are_served() {
        assert!(
            include_str!("../../openapi.json") == to_text(&document()),
            "renew it: cargo run -p lanrage-control -- openapi > control-server/openapi.json"
        );
        assert!(
            include_str!("../../openapi-admin.json") == to_text(&crate::admin::document()),
            "renew it: cargo run -p lanrage-control -- openapi --admin > control-server/openapi-admin.json"
        );
    }
}
