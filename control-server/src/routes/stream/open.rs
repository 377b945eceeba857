use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocket;
use axum::response::Response;
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::ids::DeviceId;
use lanrage_shared::stream::ClientMessage;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::link::{Incoming, Link, malformed};
use super::session::{self, Known};
use crate::app::{App, AppState};
use crate::extract::{Device, Peer, Upgrade};

/// Longest wait for `Hello`.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// What is read from the socket at once, in bytes: room for a signal. The library's own 128 KiB would be kept for each stream.
const READ_BUFFER: usize = 8 * 1024;

/// `GET /v1/stream`, with a token.
#[utoipa::path(
    get, path = "/v1/stream", tag = "stream",
    responses(
        (status = 101, description = "A WebSocket (RFC 6455) of text messages, one JSON object each: the agent begins with `hello`"),
        (status = 400, description = "The request is no WebSocket handshake"),
    ),
)]
pub async fn open(
    State(app): State<AppState>,
    Device(claims): Device,
    Extension(peer): Extension<Peer>,
    Upgrade(upgrade): Upgrade,
) -> Response {
    // The token is taken now: shutting down waits for streams that have begun, not for those about to.
    let open = app.streams.token();
    let span = Span::current();
    let max_message = app.limits.of_streams().message_kib.kib();
    upgrade
        .max_message_size(max_message)
        .max_frame_size(max_message)
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(move |socket| {
            let stream = async move {
                run(&app, claims.sub, socket).await;
                drop((open, peer));
            };
            stream.instrument(span)
        })
}

async fn run(app: &App, device: DeviceId, socket: WebSocket) {
    let mut link = Link::new(socket, app.limits.of_streams());
    let hello = tokio::select! {
        hello = timeout(HELLO_PATIENCE, link.receive()) => hello,
        () = app.shutdown.cancelled() => return link.bye(session::shutting_down(), true).await,
    };
    let error = match hello {
        Ok(Ok(Incoming::Message(ClientMessage::Hello {
            party,
            since,
            secret_epoch,
        }))) => {
            Span::current().record("party", tracing::field::display(party));
            let known = Known { since, secret_epoch };
            return session::run(app, device, link, party, known).await;
        }
        Ok(Ok(Incoming::Message(_))) => malformed("the first message must be hello".into()),
        Ok(Ok(Incoming::Malformed(sentence))) => malformed(sentence),
        Ok(Ok(Incoming::TooMany)) => ApiError::new(ErrorCode::RateLimited, "the first message must be hello"),
        Ok(Err(_)) => return,
        Err(_) => ApiError::new(ErrorCode::BadRequest, "no hello came in time"),
    };
    link.bye(error, false).await;
}
