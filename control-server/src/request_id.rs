//! What a request is called, in its answer and in every line that is logged about it.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use lanrage_observe::traces;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name a client may give its request, in characters.
const MAX_CHARS: usize = 64;

/// Names the request as its client does, or anew, and speaks of it in a span that `Device` and `PartyAt` add to.
pub(crate) async fn name(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    // At this level it is there whichever lines are logged.
    let span = tracing::error_span!("request", request = id, device = Empty, party = Empty);
    traces::follow(&span, request.headers());
    let mut response = answered(request, next).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn answered(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), began.elapsed().as_millis());
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    tracing::debug!(%method, route, status, ms, "answered");
    let span = Span::current();
    traces::describe(&span, "http.request.method", method.as_str().to_owned());
    traces::describe(&span, "http.route", route.to_owned());
    traces::describe(&span, "http.response.status_code", i64::from(status));
    response
}

/// The client's name for its request, if it can be logged as it is.
fn given(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    ((1..=MAX_CHARS).contains(&text.len()) && text.chars().all(allowed)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_can_be_logged_is_taken() {
        let given = |text: &[u8]| {
            let value = HeaderValue::from_bytes(text).unwrap();
            given(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        assert_eq!(given(b"Ab-1_2.3").as_deref(), Some("Ab-1_2.3"));
        assert_eq!(given(&[b'x'; 64]).map(|id| id.len()), Some(64));
        for bad in [b"".as_slice(), b"a b", b"a\tb", "ü".as_bytes(), &[b'x'; 65], b"a=\"b\""] {
            assert_eq!(given(bad), None, "{bad:?}");
        }
        assert_eq!(super::given(&HeaderMap::new()), None);
    }
}
