use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::relay::RelayMessage;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::session::{self, bye};
use crate::app::{App, AppState};
use crate::error::Failure;
use crate::extract::{Peer, Stranger, Upgrade, bearer};
use crate::relays::Registration;
use crate::routes::socket::{Frame, Gone, Socket, shutting_down};

/// Longest wait for `Register`.
const REGISTER_PATIENCE: Duration = Duration::from_secs(10);
/// Largest message a relay may send, in bytes: many times the largest it has a reason to.
const MAX_INCOMING: usize = 16 * 1024;

/// `GET /v1/relay-link`, with the operator's register token.
#[utoipa::path(
    get, path = "/v1/relay-link", tag = "relays",
    security(("relay" = [])),
    responses(
        (status = 101, description = "A WebSocket (RFC 6455) of text messages, one JSON object each: the relay begins with `register`"),
        (status = 400, description = "The request is no WebSocket handshake"),
    ),
)]
pub async fn open(
    State(app): State<AppState>,
    _: Stranger,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    upgrade: Result<Upgrade, Failure>,
) -> Result<Response, Failure> {
    let shown = bearer(&headers).unwrap_or_default().to_owned();
    admit(&app, &shown)?;
    // The token is taken now: shutting down waits for links that have begun, not for those about to.
    let open = app.streams.token();
    let Upgrade(upgrade) = upgrade?;
    let span = Span::current();
    Ok(upgrade
        .max_message_size(MAX_INCOMING)
        .max_frame_size(MAX_INCOMING)
        .on_upgrade(move |socket| {
            let link = async move {
                run(&app, &shown, Socket::new(socket)).await;
                drop((open, peer));
            };
            link.instrument(span)
        }))
}

/// Refuses whoever does not show the token as it is now.
pub(super) fn admit(app: &App, shown: &str) -> Result<(), Failure> {
    match app.register_token.accepts(shown) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::unauthorized(
            "this is not the relay token of this server: pass what `lanrage-control relay-token` prints",
        )),
        Err(error) => {
            tracing::warn!(%error, "no relay can register");
            Err(Failure::unavailable(
                "the server cannot read its relay token; its log says why",
            ))
        }
    }
}

async fn run(app: &App, shown: &str, mut socket: Socket) {
    let first = tokio::select! {
        first = timeout(REGISTER_PATIENCE, first(&mut socket)) => first,
        () = app.shutdown.cancelled() => return bye(socket, shutting_down()).await,
    };
    let message = match first {
        Ok(Ok(message)) => message,
        Ok(Err(Gone)) => return,
        Err(_) => return bye(socket, malformed("no registration came in time")).await,
    };
    let registered = message.and_then(|message| Registration::read(message).map_err(|unsound| unsound.to_string()));
    match registered {
        Ok((registration, since)) => session::run(app, shown, socket, registration, since).await,
        Err(sentence) => bye(socket, malformed(sentence)).await,
    }
}

/// The first message, or why it is none.
async fn first(socket: &mut Socket) -> Result<Result<RelayMessage, String>, Gone> {
    loop {
        match socket.receive().await? {
            Frame::Text(text) => return Ok(parse(&text)),
            Frame::Binary => return Ok(Err("messages are text, not binary".into())),
            Frame::Control => {}
        }
    }
}

pub(super) fn parse(text: &str) -> Result<RelayMessage, String> {
    serde_json::from_str(text).map_err(|error| format!("not a message of this link: {error}"))
}

pub(super) fn malformed(sentence: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, sentence)
}
