//! Where the services that a party may use are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanrage_agent_core::nat::StunEndpoint;
use lanrage_shared::addr::{PartyNet, is_host};
use lanrage_shared::api::party::Services;
use lanrage_shared::invite::ServerLink;
use tokio::sync::oneshot;

use super::party::PartySession;

/// STUN servers used of those the control server names.
const MAX_SERVERS: usize = 4;

/// The NAT is not measured with other servers more often than this, whatever the control server says.
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks the services' names up, beside the agent's loop.
#[derive(Default)]
pub(super) struct Lookup {
    pending: Option<oneshot::Receiver<Vec<StunEndpoint>>>,
    started: Option<Instant>,
}

impl Lookup {
    /// Starts when the services of the party changed.
    pub(super) fn start_if_wanted(&mut self, session: Option<&mut PartySession>) {
        let now = Instant::now();
        let Some(session) = session.filter(|session| session.services_changed) else {
            return;
        };
        if self.started.is_some_and(|at| now < at + INTERVAL) {
            return;
        }
        self.started = Some(now);
        session.services_changed = false;
        let (found, pending) = oneshot::channel();
        let places = Places {
            server: session.cache.server.clone(),
            reached: session.client.server_ip(),
            party: session.cache.party.net,
        };
        let work = stun_endpoints(session.cache.services.clone(), places);
        tokio::spawn(async move { found.send(work.await) });
        self.pending = Some(pending);
    }

    /// Where the STUN servers are, when that is known. Safe to cancel.
    pub(super) async fn found(&mut self) -> Vec<StunEndpoint> {
        if let Some(pending) = &mut self.pending {
            let found = pending.await;
            self.pending = None;
            if let Ok(found) = found {
                return found;
            }
        }
        std::future::pending().await
    }
}

/// Where the services' hosts are looked up from.
pub(super) struct Places {
    pub server: ServerLink,
    /// Where the control server was reached: what a service without a host means.
    pub reached: Option<IpAddr>,
    pub party: PartyNet,
}

impl Places {
    /// The addresses of a service's host. Only where the control server is may they be what no other host can be, or in the
    /// party: a control server must not make its members send to themselves or to each other.
    pub(super) async fn addresses(&self, host: Option<&str>, port: u16) -> io::Result<Vec<IpAddr>> {
        let found: Vec<IpAddr> = match (host, self.reached) {
            (None, Some(ip)) => vec![ip],
            (host, _) => {
                let host = host.unwrap_or(&self.server.host);
                let found = tokio::net::lookup_host((host, port)).await?;
                found.map(|address| address.ip()).collect()
            }
        };
        let allowed = |ip: &IpAddr| Some(*ip) == self.reached || (is_host(*ip) && !self.party.contains(*ip));
        Ok(found.into_iter().filter(allowed).collect())
    }
}

/// The STUN servers' addresses.
async fn stun_endpoints(services: Services, places: Places) -> Vec<StunEndpoint> {
    let mut endpoints = Vec::new();
    for stun in services.stun.into_iter().take(MAX_SERVERS) {
        match places.addresses(stun.host.as_deref(), stun.port).await {
            Ok(addresses) => endpoints.extend(addresses.into_iter().map(|ip| StunEndpoint {
                address: SocketAddr::new(ip, stun.port),
                second_port: stun.second_port,
            })),
            Err(error) => tracing::warn!(%error, "a STUN server's name cannot be looked up"),
        }
    }
    endpoints.truncate(MAX_SERVERS * 2);
    endpoints
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::party::StunServer;
    use lanrage_shared::ids::{PartyId, Pin};

    use super::*;

    async fn used(hosts: &[&str], reached: &str) -> Vec<String> {
        let id = PartyId("00000000-0000-7000-8000-000000000001".parse().unwrap());
        let stun = |host: &&str| StunServer {
            host: Some((*host).to_owned()),
            port: 3478,
            second_port: 3479,
        };
        let services = Services {
            stun: hosts.iter().map(stun).collect(),
            relays: Vec::new(),
        };
        let server = ServerLink {
            host: reached.to_owned(),
            port: 8443,
            pin: Pin([0; 32]),
        };
        let places = Places {
            server,
            reached: reached.parse().ok(),
            party: PartyNet::at(0, id),
        };
        let endpoints = stun_endpoints(services, places).await;
        endpoints
            .iter()
            .map(|endpoint| endpoint.address.ip().to_string())
            .collect()
    }

    #[tokio::test]
    async fn members_are_not_sent_to_themselves_to_each_other_or_to_everybody() {
        let bad = ["127.0.0.1", "10.64.0.9", "224.0.0.251", "255.255.255.255"];
        assert_eq!(used(&bad, "203.0.113.1").await, Vec::<String>::new());
        assert_eq!(
            used(&["169.254.1.1", "203.0.113.7"], "203.0.113.1").await,
            ["203.0.113.7"]
        );
        assert_eq!(
            used(&["127.0.0.1"], "127.0.0.1").await,
            ["127.0.0.1"],
            "a server on this PC"
        );
    }

    #[tokio::test]
    async fn a_long_list_is_cut() {
        assert_eq!(used(&["203.0.113.7"; 100], "203.0.113.1").await.len(), MAX_SERVERS);
    }
}
