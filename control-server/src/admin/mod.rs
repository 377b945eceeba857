//! What the operator asks: metrics, who is there, a copy of everything. On a listener of its own, on loopback unless it is told
//! otherwise, without TLS. Metrics are for whoever reaches it; everything else takes the admin token of the data directory,
//! because other users of the machine reach loopback too.

mod backup;
mod client;
mod members;
mod metrics;
mod operator;
mod parties;
mod relays;
mod remove;
mod shapes;
mod stats;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use lanrage_observe::metrics::names_this_machine;
use lanrage_shared::api::error::ErrorCode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::client::{Client, ClientError};
pub use self::shapes::{AdminMember, AdminParty};
use crate::app::App;
use crate::error::Failure;
use crate::operator_token::OperatorToken;
use crate::router::overload_router;
use crate::tls::{Allowance, Listening, Places, serve};
use crate::{openapi, request_id};

/// What the listener is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    pub listen: SocketAddr,
    /// What the operator shows.
    pub token: OperatorToken,
    /// What is backed up, but for the database.
    pub data_dir: PathBuf,
}

/// Why the operator's questions cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "{address} is in use: stop the other program, or choose another address for metrics and the admin API with --admin-listen"
    )]
    AddressInUse { address: SocketAddr },
    #[error(
        "metrics and the admin API cannot listen on {address} ({why}): choose an address of this machine with --admin-listen"
    )]
    Listen { address: SocketAddr, why: io::Error },
}

/// What every endpoint has at hand.
struct Console {
    app: Arc<App>,
    token: OperatorToken,
    data_dir: PathBuf,
}

type ConsoleState = Arc<Console>;

/// Connections at once: a Prometheus, and whoever types commands.
const CONNECTIONS: usize = 64;

/// The operator's listener.
pub struct AdminListener {
    tcp: TcpListener,
    address: SocketAddr,
    router: Router,
    allowance: Allowance,
}

impl AdminListener {
    /// Takes the port. Addresses that others can reach are warned of.
    pub async fn bind(parts: Parts, app: Arc<App>, allowance: Allowance) -> Result<Self, AdminError> {
        let address = parts.listen;
        let bound = TcpListener::bind(address)
            .await
            .and_then(|tcp| tcp.local_addr().map(|address| (tcp, address)));
        let (tcp, address) = bound.map_err(|why| match why.kind() {
            io::ErrorKind::AddrInUse => AdminError::AddressInUse { address },
            _ => AdminError::Listen { address, why },
        })?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "metrics can be read, and the admin token overheard, by everybody who reaches the admin address"
            );
        }
        let console = Console {
            app,
            token: parts.token,
            data_dir: parts.data_dir,
        };
        let router = router(Arc::new(console));
        let router = if address.ip().is_loopback() {
            router.layer(middleware::from_fn(not_for_pages))
        } else {
            router
        };
        Ok(Self {
            tcp,
            address,
            router,
            allowance,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let listening = Listening {
            tcp: self.tcp,
            tls: None,
            router: self.router,
            overload: overload_router(),
            places: Places::new(CONNECTIONS, CONNECTIONS),
            allowance: self.allowance,
        };
        serve(listening, shutdown).await;
    }
}

/// Refuses pages of a browser on this machine, which reach loopback by a name of their own.
async fn not_for_pages(request: Request, next: Next) -> Result<Response, Failure> {
    if names_this_machine(request.headers()) {
        return Ok(next.run(request).await);
    }
    let message = "ask for localhost or an address";
    Err(Failure::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, message))
}

/// Every endpoint with its description.
fn endpoints() -> OpenApiRouter<ConsoleState> {
    OpenApiRouter::with_openapi(openapi::shapes())
        .routes(routes!(metrics::metrics))
        .routes(routes!(stats::stats))
        .routes(routes!(parties::parties))
        .routes(routes!(members::members))
        .routes(routes!(remove::remove))
        .routes(routes!(relays::relays))
        .routes(routes!(backup::backup))
}

/// The operator's API.
pub fn document() -> serde_json::Value {
    let description = "What `lanrage-control admin` asks of a server on its admin address. The token is in the file \
        admin-token of the data directory.";
    openapi::described(endpoints(), "LANrage admin API", description)
}

fn router(console: ConsoleState) -> Router {
    let (router, _) = endpoints().split_for_parts();
    router
        .fallback(async || {
            Failure::new(
                StatusCode::NOT_FOUND,
                ErrorCode::NotFound,
                "there is nothing at this path",
            )
        })
        .method_not_allowed_fallback(async || {
            let message = "this path does not take this method";
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, message)
        })
        .layer(middleware::from_fn(request_id::name))
        .with_state(console)
}
