//! Nothing between the two ends: what a server adds is told from this.

use std::net::UdpSocket;
use std::sync::Arc;

use anyhow::{Context, Result};
use lanrage_relay_client::transport::for_agent;
use lanrage_shared::wire::relay::ALPN;
use lanrage_tls::identity::ServerIdentity;
use lanrage_tls::pinned::client_config;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig};
use tempfile::TempDir;

use super::KEEP_ALIVE;
use crate::ends::{Receiver, Sender, udp_socket};

/// UDP from socket to socket.
pub fn connect(size: u16) -> Result<(Sender, Receiver)> {
    let (from, to) = (udp_socket()?, udp_socket()?);
    from.connect(to.local_addr()?)?;
    Ok((Sender::udp(from, &[], size), Receiver::udp(to)?))
}

/// The QUIC of members of a relay, from one end to the other.
pub struct Quic {
    identity: ServerIdentity,
    _dir: TempDir,
}

impl Quic {
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self {
            identity: ServerIdentity::open(dir.path())?,
            _dir: dir,
        })
    }

    pub async fn connect(&self, size: u16) -> Result<(Sender, Receiver)> {
        let transport = Arc::new(for_agent(Some(KEEP_ALIVE)));
        let server = QuicServerConfig::try_from(Arc::new(self.identity.tls(&[ALPN])))?;
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(Arc::clone(&transport));
        let client = QuicClientConfig::try_from(client_config(self.identity.pin, &[ALPN]))?;
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport);

        let to = endpoint(udp_socket()?, Some(server))?;
        let from = endpoint(udp_socket()?, None)?;
        let sending = from.connect_with(client, to.local_addr()?, "bench")?;
        let receiving = async { Ok(to.accept().await.context("the endpoint is open")?.await?) };
        let (sending, receiving) = tokio::try_join!(async { Ok::<_, anyhow::Error>(sending.await?) }, receiving)?;
        Ok((Sender::quic(sending, size), Receiver::Quic(receiving)))
    }
}

fn endpoint(socket: UdpSocket, server: Option<ServerConfig>) -> Result<Endpoint> {
    let runtime = quinn::default_runtime().context("there is a runtime")?;
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, runtime)?)
}
