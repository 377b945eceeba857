//! A part of a list: `?limit=…&cursor=…`, and whether the caller has it already.
//!
//! A cursor is the key of the last item that was given, so a list that changes between two pages neither repeats what stayed
//! nor leaves it out. The body stays a plain array; where the list goes on is said in `Link` (RFC 8288).

use axum::extract::{FromRequestParts, Query};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use lanrage_store::StoreError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::error::Failure;

/// Most items of an answer, and as many as there are unless the caller wants fewer: about 250 KiB of members.
pub const MAX_ITEMS: u16 = 500;

/// What the caller wants of a list.
#[derive(Debug)]
pub struct Page {
    limit: usize,
    cursor: Option<String>,
    /// `If-None-Match`: the answers the caller has.
    known: Option<String>,
    path: String,
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Most items of the answer.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// Where to go on: the one in `Link` of the answer before.
    cursor: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let wanted = Query::<Wanted>::from_request_parts(parts, state).await;
        let Query(wanted) =
            wanted.map_err(|_| Failure::bad_request("the query cannot be read: it takes limit and cursor"))?;
        let limit = wanted.limit.unwrap_or(MAX_ITEMS);
        if !(1..=MAX_ITEMS).contains(&limit) {
            return Err(Failure::bad_request(format!("limit is a number from 1 to {MAX_ITEMS}")));
        }
        let known = parts.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        Ok(Self {
            limit: limit.into(),
            cursor: wanted.cursor,
            known: known.map(str::to_owned),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl IntoParams for Page {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = Wanted::into_params(place);
        let mut known = super::parameter::<String>(
            ParameterIn::Header,
            "If-None-Match",
            "The `ETag` of the answer at hand: 304 when nothing has changed",
        );
        known.required = utoipa::openapi::Required::False;
        parameters.push(known);
        parameters
    }
}

impl Page {
    /// Most items of the answer.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The key of the last item that was given before, for a list too long to have at hand as a whole.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Failure> {
        let read = |cursor: &String| {
            let json = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
            json.and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or_else(|| Failure::bad_request("the cursor is not one of this list: begin anew without one"))
        };
        self.cursor.as_ref().map(read).transpose()
    }

    /// The wanted part of `items`, in the order of their keys, which are unique; 304 when the caller has it.
    pub fn answer<T, K>(&self, mut items: Vec<T>, key: impl Fn(&T) -> K) -> Result<Response, Failure>
    where
        T: Serialize,
        K: Ord + Serialize + DeserializeOwned,
    {
        if let Some(last) = self.after::<K>()? {
            items.retain(|item| key(item) > last);
        }
        items.sort_by_cached_key(&key);
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|last| self.link(&key(last)));
        let body = serde_json::to_vec(&items).map_err(|error| StoreError::Internal(error.to_string()))?;
        let tag = tag(&body);
        let mut response = if self.known.as_deref().is_some_and(|known| names(known, &tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, "application/json")], body).into_response()
        };
        set(&mut response, ETAG, Some(tag));
        set(&mut response, LINK, next);
        Ok(response)
    }

    fn link(&self, last: &impl Serialize) -> String {
        let cursor = BASE64URL_NOPAD.encode(&serde_json::to_vec(last).unwrap_or_default());
        format!("<{}?limit={}&cursor={cursor}>; rel=\"next\"", self.path, self.limit)
    }
}

/// An entity tag (RFC 9110 §8.8.3) that follows from the content.
fn tag(body: &[u8]) -> String {
    format!("\"{}\"", BASE64URL_NOPAD.encode(&Sha256::digest(body)[..16]))
}

/// Whether an `If-None-Match` names this tag; compared weakly (RFC 9110 §13.1.2).
fn names(known: &str, tag: &str) -> bool {
    known
        .split(',')
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == "*" || one == tag)
}

fn set(response: &mut Response, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn page(limit: usize, cursor: Option<&str>) -> Page {
        Page {
            limit,
            cursor: cursor.map(str::to_owned),
            known: None,
            path: "/x".into(),
        }
    }

    /// Every item that following the links leads to.
    async fn walk(items: &[u32], limit: usize) -> Vec<u32> {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let answer = page(limit, cursor.as_deref())
                .answer(items.to_vec(), |item| *item)
                .unwrap();
            let link = answer.headers().get(LINK).map(|link| link.to_str().unwrap().to_owned());
            let body = to_bytes(answer.into_body(), 1000).await.unwrap();
            seen.extend(serde_json::from_slice::<Vec<u32>>(&body).unwrap());
            let Some(link) = link else { return seen };
            let (_, rest) = link.split_once("cursor=").unwrap();
            cursor = Some(rest.split_once('>').unwrap().0.to_owned());
        }
    }

    #[tokio::test]
    async fn pages_make_the_whole_list_in_order_whatever_their_size() {
        let sorted: Vec<u32> = (1..=10).collect();
        for limit in 1..=11 {
            assert_eq!(walk(&[3, 1, 2, 10, 9, 8, 4, 5, 6, 7], limit).await, sorted, "{limit}");
        }
        assert!(walk(&[], 1).await.is_empty());
    }

    #[test]
    fn who_has_the_answer_is_told_so() {
        let first = page(5, None).answer(vec![1, 2], |item| *item).unwrap();
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let mut again = page(5, None);
            again.known = Some(known);
            assert_eq!(again.answer(vec![2, 1], |item| *item).unwrap().status(), 304);
            assert_eq!(
                again.answer(vec![1], |item| *item).unwrap().status() == 304,
                again.known.as_deref() == Some("*")
            );
        }
    }

    #[test]
    fn a_cursor_of_nobody_is_refused() {
        for cursor in ["", "!", "IngiCg", &"A".repeat(500)] {
            assert!(
                page(5, Some(cursor)).answer(vec![1_u32], |item| *item).is_err(),
                "{cursor}"
            );
        }
    }
}
