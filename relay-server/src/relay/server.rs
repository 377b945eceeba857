//! The relay as one thing that is bound and run.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lanrage_relay_client::transport;
use lanrage_relay_core::relay::{Limits, Relay};
use lanrage_shared::ids::RelayId;
use lanrage_shared::wire::relay::ALPN;
use lanrage_tls::identity::ServerIdentity;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{EndpointConfig, VarInt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind::{BindError, Bound, bind, explain};
use super::cid::TaggedIds;
use super::handle::RelayHandle;
use super::hub::Hub;
use super::{quic, tcp};

/// How long goodbyes may take.
const PARTING: Duration = Duration::from_secs(2);

/// What a relay is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Its name among the relays of one control server.
    pub id: RelayId,
    /// IP addresses of this machine; none stand for all.
    pub listen_addresses: Vec<IpAddr>,
    /// For UDP and TCP; 0 takes one that is free for both.
    pub port: u16,
    /// What members may use.
    pub limits: Limits,
}

/// A relay with its sockets bound.
pub struct RelayServer {
    hub: Arc<Hub>,
    quic: Vec<quinn::Endpoint>,
    tcp: Vec<TcpListener>,
    tls: TlsAcceptor,
    port: u16,
}

impl RelayServer {
    /// Binds every socket, or none. Must be called within a tokio runtime.
    pub fn bind(settings: RelaySettings, identity: &ServerIdentity) -> Result<Self, BindError> {
        let (bound, port) = bind(&settings.listen_addresses, settings.port)?;
        let tls = Arc::new(identity.tls(&[ALPN]));
        let mut server = Self {
            hub: Arc::new(Hub::new(Relay::new(
                settings.id,
                settings.limits,
                Instant::now(),
                unix_ms(),
            ))),
            quic: Vec::new(),
            tcp: Vec::new(),
            tls: TlsAcceptor::from(Arc::clone(&tls)),
            port,
        };
        for Bound { udp, tcp } in bound {
            let at = udp.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], port).into());
            let quic = endpoint(udp, &tls).map_err(|error| explain(at, "UDP", error))?;
            server.quic.push(quic);
            let tcp = TcpListener::from_std(tcp).map_err(|error| explain(at, "TCP", error))?;
            server.tcp.push(tcp);
        }
        Ok(server)
    }

    /// The port, for UDP and TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|tcp| tcp.local_addr().ok()).collect()
    }

    /// To steer it with.
    pub fn handle(&self) -> RelayHandle {
        RelayHandle(Arc::clone(&self.hub))
    }

    /// Passes frames on until `stop`; then parts with everybody who is left. See [`RelayHandle::drain`] for what comes first.
    pub async fn run(self, stop: CancellationToken) {
        let handle = self.handle();
        for address in self.local_addresses() {
            tracing::info!(relay = %handle.id(), %address, "relaying over UDP and TCP");
        }
        // Sessions outlive the accept loops by a goodbye.
        let (accepting, sessions) = (TaskTracker::new(), TaskTracker::new());
        for endpoint in &self.quic {
            accepting.spawn(quic::accept(
                endpoint.clone(),
                Arc::clone(&self.hub),
                sessions.clone(),
                stop.clone(),
            ));
        }
        for listener in self.tcp {
            let (tls, hub) = (self.tls.clone(), Arc::clone(&self.hub));
            accepting.spawn(tcp::accept(listener, tls, hub, sessions.clone(), stop.clone()));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.hub.run_egress() => {}
            () = self.hub.run_expiry() => {}
        }
        accepting.close();
        accepting.wait().await;
        handle.part_with_all();
        sessions.close();
        // Strangers in the middle of a handshake are cut off by the close below.
        let _ = timeout(PARTING, self.hub.empty()).await;
        let _ = timeout(PARTING / 2, sessions.wait()).await;
        for endpoint in &self.quic {
            endpoint.close(VarInt::from_u32(0), b"");
        }
        for endpoint in &self.quic {
            let _ = timeout(PARTING, endpoint.wait_idle()).await;
        }
        let counters = self.hub.relay.counters();
        tracing::info!(
            forwarded = counters.forwarded(),
            dropped = counters.dropped_total(),
            "the relay has stopped"
        );
    }
}

fn endpoint(socket: std::net::UdpSocket, tls: &Arc<rustls::ServerConfig>) -> io::Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport::for_relay()))
        // Members roam, and their NATs forget them.
        .migration(true);
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("there is no runtime"))?;
    let ids = TaggedIds::default();
    let mut endpoint = EndpointConfig::default();
    endpoint.cid_generator(move || Box::new(ids.clone()));
    quinn::Endpoint::new(endpoint, Some(config), socket, runtime)
}

/// This machine's time of day, until the control server says better.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
