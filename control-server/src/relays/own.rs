//! The relay in this process: registered without a network between the two.

use std::sync::Arc;
use std::time::Duration;

use lanrage_relay::relay::{BindError, RelayHandle, RelayServer, RelaySettings};
use lanrage_shared::ids::Pin;
use lanrage_store::StoreError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{RegisterError, Registration, RelaySeat, Revocations};
use crate::app::App;
use crate::config::{RelayLimits, ServicesConfig};
use crate::tls::ServerIdentity;

/// As often as relays elsewhere report.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How long members have to move to another relay before the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Why there is no relay in this process.
#[derive(Debug, thiserror::Error)]
pub enum OwnRelayError {
    #[error(
        "port {port} is taken by another program for {protocol}: stop that program or choose another port with --relay-port"
    )]
    PortTaken { port: u16, protocol: &'static str },
    #[error("the relay cannot start: {0}")]
    Bind(BindError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Binds the relay's sockets. It shows the control server's own certificate.
pub fn bind(
    services: &ServicesConfig,
    limits: &RelayLimits,
    identity: &ServerIdentity,
) -> Result<RelayServer, OwnRelayError> {
    let settings = RelaySettings {
        id: services.relay_name.clone(),
        listen_addresses: Vec::new(),
        port: services.relay_port,
        limits: limits.into(),
    };
    RelayServer::bind(settings, identity).map_err(|error| match error {
        BindError::PortTaken { port, protocol } => OwnRelayError::PortTaken { port, protocol },
        error => OwnRelayError::Bind(error),
    })
}

/// The relay in this process, registered and told what was revoked.
pub struct OwnRelay {
    app: Arc<App>,
    relay: RelayServer,
    seat: RelaySeat,
    revocations: Revocations,
}

impl OwnRelay {
    /// Registers the relay. `pin` is its certificate's; members reach it at the control server's address.
    pub async fn register(app: Arc<App>, relay: RelayServer, region: String, pin: Pin) -> Result<Self, OwnRelayError> {
        let handle = relay.handle();
        let registration = Registration {
            id: handle.id().clone(),
            region,
            host: None,
            port: relay.port(),
            pin,
            capacity: handle.health().capacity,
        };
        let mut revocations = Revocations::begin(&app, 0).await?;
        // Before the key, so that nobody gets in who is about to be put out.
        apply(&app, &handle, &mut revocations).await?;
        handle.set_token_key(&app.authority.token_key());
        handle.set_time(app.clock.now_ms());
        let seat = app.relays.connect_own(registration)?;
        Ok(Self {
            app,
            relay,
            seat,
            revocations,
        })
    }

    /// Relays until `stop`; then lets members move elsewhere first.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            app,
            relay,
            seat,
            mut revocations,
        } = self;
        let handle = relay.handle();
        let end = CancellationToken::new();
        let relaying = tokio::spawn(relay.run(end.clone()));
        let mut report = interval(REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = revocations.changed() => {}
                _ = report.tick() => {
                    handle.set_time(app.clock.now_ms());
                    app.relays.report(&seat, &handle.health(), app.clock.uptime_ms());
                }
            }
            if let Err(error) = apply(&app, &handle, &mut revocations).await {
                // Nobody is removed while the database is away, and every report tries again.
                tracing::debug!(%error, "revocations cannot be read");
            }
        }
        app.relays.drain(&seat);
        handle.drain(DRAIN).await;
        end.cancel();
        // A task that panicked has ended as well.
        let _ = relaying.await;
    }
}

async fn apply(app: &App, handle: &RelayHandle, revocations: &mut Revocations) -> Result<(), StoreError> {
    while let Some(revocation) = revocations.next(app).await? {
        handle.apply(&revocation);
    }
    Ok(())
}
