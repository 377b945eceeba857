//! One relay's link, from `Register` to its end.

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::relay::{ControlMessage, RelayHealth, RelayMessage};
use lanrage_store::StoreError;

use super::open::{admit, malformed, parse};
use crate::app::App;
use crate::error::Failure;
use crate::relays::{Registration, RelaySeat, Revocations};
use crate::routes::socket::{Frame, Gone, Socket};

/// After this long without an acknowledgement the operator should know, in milliseconds: members who were removed are told
/// at once, but this relay may still serve them.
const ACKNOWLEDGE_PATIENCE_MS: u64 = 5000;

/// Why a link is over.
enum End {
    /// The relay went away.
    Gone,
    /// We close, saying why.
    Bye(ApiError),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Bye(Failure::from(error).error)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Bye(failure.error)
    }
}

/// Parting words of a server that stops.
pub(super) fn shutting_down() -> ApiError {
    ApiError::new(
        ErrorCode::Unavailable,
        "the server is restarting: come back in a moment",
    )
}

/// Parting words to a relay.
pub(super) async fn bye(socket: Socket, error: ApiError) {
    if let Ok(text) = serde_json::to_string(&ControlMessage::Bye { error }) {
        socket.part(text).await;
    }
}

/// Runs a link until it ends. The relay stays offered to members until it has been silent for too long.
pub(super) async fn run(app: &App, shown: &str, socket: Socket, registration: Registration, since: u64) {
    let seat = match app.relays.connect(registration, app.clock.uptime_ms()) {
        Ok(seat) => seat,
        Err(error) => return bye(socket, ApiError::new(ErrorCode::Forbidden, error.to_string())).await,
    };
    tracing::info!(relay = %seat.id, "a relay has registered");
    let mut session = Session {
        app,
        shown,
        seat: &seat,
        socket,
        unacknowledged: None,
    };
    let Err(end) = session.run(since).await;
    tracing::info!(relay = %seat.id, "a relay's link has ended");
    if let End::Bye(error) = end {
        bye(session.socket, error).await;
    }
}

struct Session<'a> {
    app: &'a App,
    shown: &'a str,
    seat: &'a RelaySeat,
    socket: Socket,
    /// The last revocation sent, and when the oldest that is not acknowledged was.
    unacknowledged: Option<(u64, u64)>,
}

/// Never returns a value: a link ends with its reason.
type Never = std::convert::Infallible;

impl Session<'_> {
    async fn run(&mut self, since: u64) -> Result<Never, End> {
        let (app, seat) = (self.app, self.seat);
        let mut revocations = Revocations::begin(app, since).await?;
        self.say(&ControlMessage::Welcome {
            token_key: app.authority.token_key(),
            server_time_ms: app.clock.now_ms(),
            last_seq: revocations.last(),
        })
        .await?;
        self.pass_on(&mut revocations).await?;
        loop {
            tokio::select! {
                () = app.shutdown.cancelled() => return Err(End::Bye(shutting_down())),
                () = seat.superseded() => return Err(End::Bye(superseded())),
                () = revocations.changed() => self.pass_on(&mut revocations).await?,
                frame = self.socket.receive() => match frame? {
                    Frame::Text(text) => self.handle(&text, &mut revocations).await?,
                    Frame::Binary => return Err(End::Bye(malformed("messages are text, not binary"))),
                    Frame::Control => {}
                }
            }
        }
    }

    async fn handle(&mut self, text: &str, revocations: &mut Revocations) -> Result<(), End> {
        match parse(text).map_err(|sentence| End::Bye(malformed(sentence)))? {
            RelayMessage::Health { health } => self.health(&health, revocations).await,
            RelayMessage::Applied { seq } => {
                self.app.relays.acknowledge(self.seat, seq);
                self.unacknowledged = self.unacknowledged.filter(|(last, _)| *last > seq);
                Ok(())
            }
            RelayMessage::Draining => {
                tracing::info!(relay = %self.seat.id, "a relay drains");
                self.app.relays.drain(self.seat);
                Ok(())
            }
            RelayMessage::Register { .. } => Err(End::Bye(malformed("register is only the first message"))),
        }
    }

    /// A report, and the occasion to look whether all is well between the two.
    async fn health(&mut self, health: &RelayHealth, revocations: &mut Revocations) -> Result<(), End> {
        admit(self.app, self.shown)?;
        let now_ms = self.app.clock.uptime_ms();
        self.app.relays.report(self.seat, health, now_ms);
        if let Some((seq, since_ms)) = self.unacknowledged
            && now_ms.saturating_sub(since_ms) > ACKNOWLEDGE_PATIENCE_MS
        {
            tracing::warn!(relay = %self.seat.id, seq, "a relay does not say that removed members are out: restart it");
        }
        self.pass_on(revocations).await
    }

    /// Tells the relay what was revoked since it was last told.
    async fn pass_on(&mut self, revocations: &mut Revocations) -> Result<(), End> {
        loop {
            let revocation = match revocations.next(self.app).await {
                Ok(Some(revocation)) => revocation,
                Ok(None) => return Ok(()),
                Err(error) => {
                    // Logged there. Nobody is removed while the database is away, and every report tries again.
                    let _ = Failure::from(error);
                    return Ok(());
                }
            };
            let seq = revocation.seq;
            self.say(&ControlMessage::Revoked { revocation }).await?;
            let (_, since_ms) = self.unacknowledged.unwrap_or((seq, self.app.clock.uptime_ms()));
            self.unacknowledged = Some((seq, since_ms));
        }
    }

    async fn say(&mut self, message: &ControlMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).map_err(|error| StoreError::Internal(error.to_string()))?;
        self.socket.send(text).await.map_err(End::from)
    }
}

fn superseded() -> ApiError {
    ApiError::new(
        ErrorCode::Superseded,
        "another link of a relay with this name has taken its place, or this one was silent for too long",
    )
}
