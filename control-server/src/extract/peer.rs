//! The other end of the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::AppState;
use crate::error::Failure;
use crate::tls::Place;

/// Put into every request by the accept loop.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The connection's place among those allowed; a stream keeps it for as long as it lasts.
    pub place: Arc<Place>,
}

impl Peer {
    /// Of this request. Without one nobody could be counted, so nobody is answered.
    pub fn of(parts: &Parts) -> Result<&Self, Failure> {
        parts
            .extensions
            .get::<Self>()
            .ok_or_else(|| Failure::unavailable("the server does not know where this request comes from"))
    }
}

/// Whoever asks for what needs no token. Extracting it counts the request.
#[derive(Debug)]
pub struct Stranger;

impl FromRequestParts<AppState> for Stranger {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Failure> {
        let address = Peer::of(parts)?.address.ip();
        app.limits.stranger(address).map_err(Failure::rate_limited)?;
        Ok(Self)
    }
}
