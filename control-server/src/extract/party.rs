//! The party a path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use lanrage_shared::ids::PartyId;

use crate::error::Failure;

/// The `{id}` of a path.
#[derive(Debug)]
pub struct PartyAt(pub PartyId);

impl<S: Send + Sync> FromRequestParts<S> for PartyAt {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok();
        id.and_then(|Path(text)| text.parse().ok())
            .map(Self)
            .ok_or_else(|| Failure::bad_request("the path does not name a party: its id is a UUID"))
    }
}
