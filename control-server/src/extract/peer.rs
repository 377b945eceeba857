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

/// Whoever asks for what needs no token. Extracting it counts the request.
#[derive(Debug)]
pub struct Stranger;

impl FromRequestParts<AppState> for Stranger {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Failure> {
        if let Some(peer) = parts.extensions.get::<Peer>() {
            app.limits.address(peer.address.ip()).map_err(Failure::rate_limited)?;
        }
        Ok(Self)
    }
}
