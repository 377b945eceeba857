use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocket;
use axum::response::Response;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::ClientMessage;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::end::End;
use super::link::{Incoming, Link};
use super::session::{self, Known, Never};
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
    let Err(end) = stream(app, device, &mut link).await;
    app.metrics.end_stream(end.why());
    if let End::Bye { error, retry, .. } = end {
        link.bye(error, retry).await;
    }
}

async fn stream(app: &App, device: DeviceId, link: &mut Link) -> Result<Never, End> {
    let (party, known) = tokio::select! {
        hello = timeout(HELLO_PATIENCE, link.receive()) => match hello {
            Ok(incoming) => hello_of(incoming?)?,
            Err(_) => return Err(End::no_hello(ErrorCode::BadRequest, "no hello came in time")),
        },
        () = app.shutdown.cancelled() => return Err(End::restarting()),
    };
    Span::current().record("party", tracing::field::display(party));
    session::run(app, device, link, party, known).await
}

/// What the first message has to be.
fn hello_of(incoming: Incoming) -> Result<(PartyId, Known), End> {
    match incoming {
        Incoming::Message(ClientMessage::Hello {
            party,
            since,
            secret_epoch,
        }) => Ok((party, Known { since, secret_epoch })),
        Incoming::Message(_) => Err(End::no_hello(ErrorCode::BadRequest, "the first message must be hello")),
        Incoming::Malformed(sentence) => Err(End::no_hello(ErrorCode::BadRequest, sentence)),
        Incoming::TooMany => Err(End::no_hello(ErrorCode::RateLimited, "the first message must be hello")),
    }
}
