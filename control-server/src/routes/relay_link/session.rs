//! One relay's link, from `Register` to its end.

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::relay::{ControlMessage, RelayHealth, RelayMessage};
use lanrage_store::StoreError;

use super::open::{admit, malformed, parse};
use crate::app::App;
use crate::error::Failure;
use crate::relays::{RegisterError, Registration, RelaySeat, Revocations};
use crate::routes::socket::{Frame, Gone, Socket, shutting_down};

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

impl From<RegisterError> for End {
    fn from(error: RegisterError) -> Self {
        Self::Bye(ApiError::new(ErrorCode::Forbidden, error.to_string()))
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Bye(failure.error)
    }
}

/// Parting words to a relay.
pub(super) async fn bye(socket: Socket, error: ApiError) {
    if let Ok(text) = serde_json::to_string(&ControlMessage::Bye { error }) {
        socket.part(text).await;
    }
}

/// Runs a link until it ends. The relay stays offered to members until it has been silent for too long.
pub(super) async fn run(app: &App, shown: &str, mut socket: Socket, registration: Registration, since: u64) {
    let end = match Revocations::begin(app, since).await {
        Ok(revocations) => {
            let mut session = Session {
                app,
                shown,
                socket: &mut socket,
                revocations,
                unacknowledged: None,
            };
            let Err(end) = session.run(registration).await;
            end
        }
        Err(error) => error.into(),
    };
    if let End::Bye(error) = end {
        bye(socket, error).await;
    }
}

struct Session<'a> {
    app: &'a App,
    shown: &'a str,
    socket: &'a mut Socket,
    revocations: Revocations,
    /// The last revocation sent, and when the oldest that is not acknowledged was.
    unacknowledged: Option<(u64, u64)>,
}

/// Never returns a value: a link ends with its reason.
type Never = std::convert::Infallible;

impl Session<'_> {
    async fn run(&mut self, registration: Registration) -> Result<Never, End> {
        let app = self.app;
        self.say(&ControlMessage::Welcome {
            token_key: app.authority.token_key(),
            server_time_ms: app.clock.now_ms(),
            last_seq: self.revocations.last(),
        })
        .await?;
        self.pass_on().await?;
        // Now that it has what it needs to let members in and keep others out, they may hear of it.
        let seat = app.relays.connect(registration, app.clock.uptime_ms())?;
        tracing::info!(relay = %seat.id, "a relay has registered");
        let Err(end) = self.serve(&seat).await;
        tracing::info!(relay = %seat.id, "a relay's link has ended");
        Err(end)
    }

    async fn serve(&mut self, seat: &RelaySeat) -> Result<Never, End> {
        loop {
            tokio::select! {
                () = self.app.shutdown.cancelled() => return Err(End::Bye(shutting_down())),
                () = seat.superseded() => return Err(End::Bye(superseded())),
                () = self.revocations.changed() => self.pass_on().await?,
                frame = self.socket.receive() => match frame? {
                    Frame::Text(text) => self.handle(&text, seat).await?,
                    Frame::Binary => return Err(End::Bye(malformed("messages are text, not binary"))),
                    Frame::Control => {}
                }
            }
        }
    }

    async fn handle(&mut self, text: &str, seat: &RelaySeat) -> Result<(), End> {
        match parse(text).map_err(|sentence| End::Bye(malformed(sentence)))? {
            RelayMessage::Health { health } => self.health(&health, seat).await,
            RelayMessage::Applied { seq } => {
                self.app.relays.acknowledge(seat, seq);
                self.unacknowledged = self.unacknowledged.filter(|(last, _)| *last > seq);
                Ok(())
            }
            RelayMessage::Draining => {
                tracing::info!(relay = %seat.id, "a relay drains");
                self.app.relays.drain(seat);
                Ok(())
            }
            RelayMessage::Register { .. } => Err(End::Bye(malformed("register is only the first message"))),
        }
    }

    /// A report, and the occasion to look whether all is well between the two.
    async fn health(&mut self, health: &RelayHealth, seat: &RelaySeat) -> Result<(), End> {
        admit(self.app, self.shown)?;
        let now_ms = self.app.clock.uptime_ms();
        self.app.relays.report(seat, health, now_ms);
        if let Some((seq, since_ms)) = self.unacknowledged
            && now_ms.saturating_sub(since_ms) > ACKNOWLEDGE_PATIENCE_MS
        {
            tracing::warn!(relay = %seat.id, seq, "a relay does not say that removed members are out: restart it");
        }
        self.pass_on().await
    }

    /// Tells the relay what was revoked since it was last told.
    async fn pass_on(&mut self) -> Result<(), End> {
        loop {
            let revocation = match self.revocations.next(self.app).await {
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
