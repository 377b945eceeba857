//! The agent at work: opens everything, starts the packet threads and the loop, and ends in order.
//!
//! [`run`] is `lanrage up`. The [`agent`] loop owns the party ([`party`]); [`requests`] answers the local API and talks to
//! control servers on its behalf; [`dataplane`] holds the packet threads.

mod adapter;
mod agent;
mod bridge;
mod command;
pub mod dataplane;
mod doctor;
mod entry;
mod farewells;
mod games;
mod latency;
mod metrics;
mod party;
mod pings;
mod relay_words;
mod relays;
mod report;
mod requests;
mod services;
mod stream;
mod test_lan;
mod whom;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lanrage_observe::metrics::MetricsServer;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::adapter::AdapterKeeper;
use self::agent::{Agent, Inputs};
use self::command::Commands;
use self::dataplane::{DataPlane, MTU};
use self::farewells::Farewells;
use self::metrics::FromLoop;
use self::requests::Requests;
use crate::api::{DeviceReport, Failure, server};
use crate::io::netwatch::NetWatch;
use crate::io::portmap::PortMapping;
use crate::io::tun::{TunConfig, TunDevice, TunError};
use crate::io::udp::{BindError, UdpPort};
use crate::platform::{self, LocalListener};
use crate::state::StateDir;

/// Requests waiting for the loop.
const COMMAND_QUEUE: usize = 64;
/// The local API's last answer gets this long to reach its reader.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What cannot be cancelled gets this long: the system looks names up for up to half a minute.
const LOOSE_ENDS: Duration = Duration::from_secs(1);

/// What `lanrage up` was asked for.
pub struct UpOptions {
    pub state_dir: PathBuf,
    /// Name of the TUN interface; none = the first free `lanrageN`.
    pub tun_name: Option<String>,
    /// UDP port; none = the one of last time if it is free, else any.
    pub port: Option<u16>,
    /// Where Prometheus is answered; none = nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Called when the local API answers.
    pub ready: Box<dyn FnOnce() + Send>,
}

/// Runs the agent until it is told to stop.
pub fn run(options: UpOptions) -> Result<(), Failure> {
    platform::check_privileges().map_err(|sentence| Failure::new("no_privileges", sentence))?;
    platform::allow_many_sockets();
    let state = StateDir::open(&options.state_dir)?;
    // `lanrage down` waits until it is free, and the next agent needs the sockets.
    let held = state.hold();
    // Also says now, not later, when the party's file is damaged.
    let last_port = state.load_party()?.map(|cache| cache.udp_port);
    let udp = bind(options.port, last_port)?;
    let tun = TunDevice::create(&TunConfig {
        name: options.tun_name.clone(),
        mtu: MTU,
    })
    .map_err(|error| Failure::new(tun_code(&error), error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                "runtime",
                format!("the operating system gives the agent no threads: {error}"),
            )
        })?;
    let outcome = runtime.block_on(serve(state, udp, tun, options));
    runtime.shutdown_timeout(LOOSE_ENDS);
    // A thread may still have a socket open.
    held.keep_to_the_end();
    outcome
}

fn bind(port: Option<u16>, last_port: Option<u16>) -> Result<UdpPort, Failure> {
    let bound = match (port, last_port) {
        (Some(port), _) => UdpPort::bind(Some(port)),
        // The port of last time keeps the router's mapping, and with it the peers' paths.
        (None, Some(last)) => UdpPort::bind(Some(last)).or_else(|_| UdpPort::bind(None)),
        (None, None) => UdpPort::bind(None),
    };
    bound.map_err(|error| {
        let code = if matches!(error, BindError::PortTaken(_)) {
            "port_taken"
        } else {
            "bind_failed"
        };
        Failure::new(code, error.to_string())
    })
}

fn tun_code(error: &TunError) -> &'static str {
    match error {
        TunError::NoPermission => "no_privileges",
        TunError::NoTunDevice => "no_tun_device",
        TunError::NameTaken(_) => "tun_name_taken",
        TunError::InvalidName(_) => "bad_tun_name",
        TunError::Other(_) => "tun_failed",
    }
}

async fn serve(state: StateDir, udp: UdpPort, tun: TunDevice, options: UpOptions) -> Result<(), Failure> {
    let state_dir = &options.state_dir;
    let metrics = match options.metrics_listen {
        Some(address) => {
            let bound = MetricsServer::bind(address).await;
            Some(bound.map_err(|error| Failure::new("metrics_listen", error.to_string()))?)
        }
        None => None,
    };
    let listener = LocalListener::bind(state_dir).await.map_err(|error| {
        Failure::new(
            "local_api",
            format!("cannot open the local API in {}: {error}", state_dir.display()),
        )
    })?;
    let identity = Arc::clone(&state.identity().identity);
    let device_secret = state.identity().device.clone();
    let port = udp.port();
    let device = DeviceReport {
        id: identity.device_id(),
        tun: tun.name().to_owned(),
        port,
    };
    let (data_plane, arrivals) = DataPlane::start(&device_secret, &tun, udp)
        .map_err(|error| Failure::new("threads", format!("the packet threads cannot start: {error}")))?;
    let (port_mapping, mapped) = PortMapping::start(port);
    let (commands, from_api) = mpsc::channel(COMMAND_QUEUE);
    let (stop, stopped) = oneshot::channel();
    let networks = NetWatch::start(tun.name().to_owned());
    let (mut addresses, mut routers) = (networks.addresses.clone(), networks.changes.clone());
    let (announcing, routes) = watch::channel(());
    tokio::spawn(platform::announce_changes(announcing));
    let (servers, list) = watch::channel(Vec::new());
    let latencies = latency::watch(list);
    let games = games::watch(state_dir.join("profiles"));
    let inputs = Inputs {
        games: games.clone(),
        commands: from_api,
        arrivals,
        interfaces: networks.addresses,
        network: networks.changes,
        routes,
        port_mapping: mapped,
        stop: stopped,
    };
    let changing = Arc::new(Mutex::new(()));
    let farewells = Arc::new(Farewells {
        commands: Commands(commands.clone()),
        identity: Arc::clone(&identity),
        device: device_secret.clone(),
        changing: Arc::clone(&changing),
        wake: Notify::new(),
    });
    if let Some(metrics) = metrics {
        let numbers = FromLoop(Commands(commands.clone()));
        tokio::spawn(metrics.run(numbers, CancellationToken::new()));
    }
    let requests = Requests {
        commands: Commands(commands),
        identity,
        device: device_secret,
        udp_port: port,
        tun: tun.name().to_owned(),
        changing,
        farewells: Arc::clone(&farewells),
        games,
        latencies,
    };
    tracing::info!(device = %device.id, tun = %device.tun, port, "the agent is up");
    let adapter = AdapterKeeper::start(tun)
        .map_err(|error| Failure::new("tun_failed", format!("the new network interface is gone: {error}")))?;
    let mut agent = Agent::new(state, adapter, data_plane, device, servers);
    agent.resume(&inputs)?;
    let api = tokio::spawn(server::serve(listener, Arc::new(requests)));
    let farewells = tokio::spawn(farewells.run());
    tokio::spawn(async move {
        platform_stop().await;
        let _ = stop.send(());
    });
    (options.ready)();
    let ask_again = async {
        loop {
            tokio::select! {
                Ok(()) = addresses.changed() => {}
                Ok(()) = routers.changed() => {}
                else => return std::future::pending().await,
            }
            port_mapping.network_changed();
        }
    };
    tokio::select! {
        () = agent.run(inputs) => {}
        () = ask_again => {}
    }
    port_mapping.deactivate().await;
    tokio::time::sleep(LAST_WORDS).await;
    api.abort();
    farewells.abort();
    Ok(())
}

/// Until the operating system asks the agent to stop.
#[cfg(unix)]
async fn platform_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

/// Until the operating system asks the agent to stop.
#[cfg(windows)]
async fn platform_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
