//! The other end of the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::AppState;
use crate::error::Failure;

/// Put into every request by the accept loop.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The connection's place among those allowed; a stream keeps it for as long as it lasts.
    pub place: Arc<OwnedSemaphorePermit>,
}

/// Middleware for endpoints that ask for no token.
pub async fn limit_by_address(
    State(app): State<AppState>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    app.limits.address(peer.address.ip()).map_err(Failure::rate_limited)?;
    Ok(next.run(request).await)
}
