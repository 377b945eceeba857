//! Where the services that a party may use are.

use std::net::{IpAddr, SocketAddr};

use lanrage_agent_core::nat::StunEndpoint;
use lanrage_shared::api::party::Services;
use lanrage_shared::invite::ServerLink;

/// The STUN servers' addresses. One without a host is where the control server is.
pub(super) async fn stun_endpoints(
    services: Services,
    server: ServerLink,
    reached: Option<IpAddr>,
) -> Vec<StunEndpoint> {
    let mut endpoints = Vec::new();
    for stun in services.stun {
        let addresses: Vec<IpAddr> = match (&stun.host, reached) {
            (None, Some(ip)) => vec![ip],
            (host, _) => {
                let host = host.as_deref().unwrap_or(&server.host);
                match tokio::net::lookup_host((host, stun.port)).await {
                    Ok(found) => found.map(|address| address.ip()).collect(),
                    Err(error) => {
                        tracing::warn!(%error, "a STUN server's name cannot be looked up");
                        continue;
                    }
                }
            }
        };
        endpoints.extend(addresses.into_iter().map(|ip| StunEndpoint {
            address: SocketAddr::new(ip, stun.port),
            second_port: stun.second_port,
        }));
    }
    endpoints
}
