use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::ids::DeviceId;
use lanrage_shared::stream::ClientMessage;
use tokio::time::timeout;

use super::link::{Incoming, Link, malformed};
use super::session;
use crate::app::{App, AppState};
use crate::error::Failure;
use crate::extract::{Device, Peer};

/// Longest wait for `Hello`.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Largest message an agent may send, in bytes: sixteen times the largest it has a reason to.
const MAX_INCOMING: usize = 64 * 1024;

/// `GET /v1/stream`, with a token.
pub async fn open(
    State(app): State<AppState>,
    Device(claims): Device,
    Extension(peer): Extension<Peer>,
    Upgrade(upgrade): Upgrade,
) -> Response {
    // The token is taken now: shutting down waits for streams that have begun, not for those about to.
    let open = app.streams.token();
    upgrade
        .max_message_size(MAX_INCOMING)
        .max_frame_size(MAX_INCOMING)
        .on_upgrade(async move |socket| {
            run(&app, claims.sub, socket).await;
            drop((open, peer));
        })
}

async fn run(app: &App, device: DeviceId, socket: WebSocket) {
    let mut link = Link::new(socket);
    let hello = tokio::select! {
        hello = timeout(HELLO_PATIENCE, link.receive()) => hello,
        () = app.shutdown.cancelled() => return link.bye(session::shutting_down(), true).await,
    };
    let error = match hello {
        Ok(Ok(Incoming::Message(ClientMessage::Hello { party, since, .. }))) => {
            return session::run(app, device, link, party, since).await;
        }
        Ok(Ok(Incoming::Message(_))) => malformed("the first message must be hello".into()),
        Ok(Ok(Incoming::Malformed(sentence))) => malformed(sentence),
        Ok(Err(_)) => return,
        Err(_) => ApiError::new(ErrorCode::BadRequest, "no hello came in time"),
    };
    link.bye(error, false).await;
}

/// A WebSocket handshake, refused in the one shape of refusals.
pub struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(upgrade) => Ok(Self(upgrade)),
            Err(_) => Err(Failure::bad_request("the stream is a WebSocket: ask for an upgrade")),
        }
    }
}
