//! The server as one thing: bind, run, stop.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::api::party::StunServer;
use lanrage_shared::invite::DEFAULT_PORT;
use lanrage_store::{Bounds, ReplicaRow, Store, StoreError};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminError, AdminListener};
use crate::app::App;
use crate::auth::Authority;
use crate::clock::Clock;
use crate::config::LimitsConfig;
use crate::feed::{Feed, MemoryFeed};
use crate::limits::Limits;
use crate::metrics::{Metrics, SlowLog};
use crate::operator_token::OperatorToken;
use crate::presence::{Roster, WriteBehind};
use crate::relays::Relays;
use crate::replicas::{self, Replicas};
use crate::router::{overload_router, router};
use crate::routes::health::Readiness;
use crate::routes::stream::Arrivals;
use crate::snapshots::Snapshots;
use crate::tasks::Tasks;
use crate::tls::{Allowance, Handshakes, Listening, Places, ServerIdentity, serve};
use crate::upkeep;

/// Connections the kernel holds before they are accepted: a server that restarts is greeted by everybody at once.
const BACKLOG: i32 = 4096;
/// What the kernel holds of what a connection was sent and has not read (it takes twice as much).
const SEND_BUFFER: usize = 128 * 1024;
/// Longest shutting down waits for requests, streams and background tasks to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(4);
/// Longest it waits for the database to take what members last said, however long the former took.
const SAVING_PATIENCE: Duration = Duration::from_secs(3);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{address} is in use: stop the other program or choose another port with --listen")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on {address} ({why}): choose an address of this machine with --listen")]
    Listen { address: SocketAddr, why: io::Error },
    #[error(
        "the server {name:?} on the same database shows another key, and agents would take the two for different servers: copy identity.pem from its data directory to this one's, or give this one a database of its own"
    )]
    OtherKey { name: String },
    #[error("cannot start a thread for connections: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the server stopped without having been told to.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server's {0} ended by itself, which is a fault of the program (see the lines before): start the server again"
)]
pub struct Broken(&'static str);

/// What a server is made of.
pub struct Parts {
    pub listen: Option<SocketAddr>,
    pub identity: ServerIdentity,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    /// What agents are told about STUN servers.
    pub stun: Vec<StunServer>,
    /// What relays show.
    pub register_token: OperatorToken,
    /// Where and to whom the operator's questions are answered.
    pub admin: Option<admin::Parts>,
    /// A database operation that takes longer is logged.
    pub slow_operation: Duration,
    pub limits: LimitsConfig,
    /// Whether people may look at the API in a browser.
    pub swagger_ui: bool,
    /// What other replicas on the same database know this one by. Each has its own.
    pub replica_name: String,
    /// The name or address at which agents reach this server, for relays at the same one.
    pub public_host: Option<String>,
    /// Carries to replicas at once what they hear by the database a moment later.
    pub redis: Option<redis::Client>,
}

/// A server that listens. Nobody is answered before [`Server::run`].
pub struct Server {
    app: Arc<App>,
    listening: Listening,
    address: SocketAddr,
    admin: Option<AdminListener>,
}

impl Server {
    /// Takes the port and readies everything.
    pub async fn bind(parts: Parts) -> Result<Self, StartError> {
        let tcp = listen(parts.listen)?;
        let address = tcp.local_addr().map_err(|why| StartError::Listen {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            why,
        })?;
        let feed: Arc<dyn Feed> = Arc::new(MemoryFeed::default());
        let metrics = Metrics::new();
        let bounds = Bounds {
            parties_per_device: parts.limits.parties_per_device.count(),
            invites_per_party: parts.limits.invites_per_party.get().get().into(),
            bans_per_party: parts.limits.bans_per_party.count(),
        };
        let store = parts.store.bounded_by(bounds).observed_by(Arc::new(SlowLog {
            metrics: metrics.clone(),
            threshold: parts.slow_operation,
        }));
        let handshakes = Handshakes::new(parts.identity.public_tls(&[b"http/1.1"])).map_err(StartError::Thread)?;
        let places = Places::new(
            parts.limits.connections.count(),
            parts.limits.connections_per_address.count(),
        );
        let me = ReplicaRow {
            id: store.replica(),
            name: parts.replica_name,
            pin: parts.identity.pin,
        };
        if store.is_shared()
            && let Some(other) = store.join(&me).await?
        {
            return Err(StartError::OtherKey { name: other.name });
        }
        let write_behind = Arc::new(WriteBehind::default());
        let app = Arc::new(App {
            authority: Authority::open(&store, parts.identity.pin).await?,
            store,
            limits: Limits::new(&parts.limits, parts.redis.is_some()),
            roster: Roster::new(
                me.id,
                Arc::clone(&feed),
                Arc::clone(&parts.clock),
                Arc::clone(&write_behind),
            ),
            relays: Relays::new(
                parts.stun,
                me.id,
                Arc::clone(&parts.clock),
                Arc::clone(&write_behind),
                parts.public_host,
            ),
            write_behind,
            snapshots: Snapshots::default(),
            replicas: Replicas::new(me, parts.redis),
            clock: parts.clock,
            feed,
            register_token: parts.register_token,
            metrics,
            swagger_ui: parts.swagger_ui,
            places: places.clone(),
            shutdown: CancellationToken::new(),
            arrivals: Arrivals::default(),
            readiness: Readiness::default(),
            streams: TaskTracker::new(),
        });
        replicas::begin(&app).await?;
        let listening = Listening {
            tcp,
            tls: Some(handshakes),
            router: router(Arc::clone(&app), &parts.limits),
            overload: overload_router(),
            places,
            allowance: Allowance::from(&parts.limits),
        };
        let admin = match parts.admin {
            Some(of_admin) => {
                Some(AdminListener::bind(of_admin, Arc::clone(&app), Allowance::from(&parts.limits)).await?)
            }
            None => None,
        };
        Ok(Self {
            app,
            listening,
            address,
            admin,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers the operator.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminListener::address)
    }

    /// Its parts.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Answers until `shutdown`; then parts with every stream, lets requests finish, saves what waits and closes the store. So it does
    /// when one of its own tasks or of `tasks`, which end with `shutdown`, ends before.
    pub async fn run(self, mut tasks: Tasks, shutdown: CancellationToken) -> Result<(), Broken> {
        let Self {
            app, listening, admin, ..
        } = self;
        tasks.spawn("answering of agents", serve(listening, app.shutdown.clone()));
        if let Some(admin) = admin {
            tasks.spawn("answering of the operator", admin.run(app.shutdown.clone()));
        }
        tasks.spawn("upkeep", upkeep::run(Arc::clone(&app)));
        tasks.spawn("watch over relays", upkeep::watch_relays(Arc::clone(&app)));
        tasks.spawn("talk with other servers", replicas::run(Arc::clone(&app)));
        let saving = Arc::clone(&app);
        tasks.spawn("saving of presence", async move {
            saving.write_behind.run(&saving.store, &saving.shutdown).await;
        });
        let outcome = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            name = tasks.first_to_end() => Err(Broken(name)),
        };
        shutdown.cancel();
        app.shutdown.cancel();
        app.streams.close();
        let ending = async {
            app.streams.wait().await;
            tasks.all_to_end().await;
        };
        if timeout(SHUTDOWN_PATIENCE, ending).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        save(&app).await;
        outcome
    }
}

/// Writes what members last said, and takes leave of the other replicas.
async fn save(app: &App) {
    let saved = async {
        app.write_behind.flush(&app.store).await?;
        app.store.part(app.replicas.me()).await?;
        app.store.close().await;
        Ok::<_, StoreError>(())
    };
    match timeout(SAVING_PATIENCE, saved).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "what members last said is not saved"),
        Err(_) => tracing::warn!("what members last said may not be saved: the database takes too long"),
    }
}

fn listen(address: Option<SocketAddr>) -> Result<TcpListener, StartError> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
    if let Some(address) = address {
        return listen_on(address);
    }
    match listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))) {
        // No IPv6 on this machine.
        Err(StartError::Listen { .. }) => listen_on(v4),
        outcome => outcome,
    }
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // So that a restarted server gets its port back while old connections linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
        // Accepted connections have it too: what who does not read is sent must not fill the machine's memory.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|why| match why.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, why },
    })
}
