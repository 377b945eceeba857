//! Requests on their way out.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use lanrage_shared::api::error::ErrorCode;
use tokio::time::Instant;

use super::{Metrics, RequestLabels};

/// Counts the request, by the route it matched and how it was answered.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let method = name_of(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    let status = class_of(response.status().as_u16());
    let labels = RequestLabels { method, route, status };
    metrics.request(&labels, began.elapsed());
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        metrics.refuse(*code);
    }
    response
}

/// A client may make methods up.
fn name_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn class_of(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
