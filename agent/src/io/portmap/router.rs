//! Asking the router: PCP, NAT-PMP and UPnP-IGD, one mapping each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use netwatch::interfaces::HomeRouter;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::debug;

use super::codec::{self, Grant, LARGEST_ANSWER, Nonce, Refusal, SERVER_PORT};

/// Seconds asked for. Short enough that a PC that vanished does not leave its port open for long, long enough that renewal
/// (at half of it) is rare.
const LIFETIME: u32 = 3600;
/// Waits for PCP and NAT-PMP answers. A router on the same LAN answers within milliseconds; RFC 6886 §3.1 doubles from
/// 250 ms and goes on for a minute, which no player waits for.
const WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];
/// Routers answer an SSDP search within the MX seconds that it allows: 3 in the library's message.
const SEARCH: Duration = Duration::from_secs(3);
/// A UPnP call is one HTTP exchange on the LAN.
const CALL: Duration = Duration::from_secs(2);
/// What the router's page shows.
const DESCRIPTION: &str = "LANrage";

/// Why the router opened nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouterError {
    #[error("this PC has no router with an IPv4 address")]
    NoRouter,
    #[error("no answer")]
    Silent,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("UPnP: {0}")]
    Upnp(String),
}

/// The router of the default route, and this PC's address towards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Router {
    address: Ipv4Addr,
    local: Ipv4Addr,
}

/// By which protocol the mapping was made, and so is renewed and released.
#[derive(Debug, Clone)]
pub(super) enum Protocol {
    Pcp,
    NatPmp,
    Upnp(Box<Gateway<Tokio>>),
}

/// An open port.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    pub(super) grant: Grant,
    protocol: Protocol,
    router: Router,
}

impl Router {
    /// Looks the router up.
    pub(super) async fn find() -> Result<Self, RouterError> {
        let home = tokio::task::spawn_blocking(HomeRouter::new)
            .await
            .ok()
            .flatten()
            .ok_or(RouterError::NoRouter)?;
        let IpAddr::V4(address) = home.gateway else {
            return Err(RouterError::NoRouter);
        };
        // Connecting a UDP socket sends nothing; it asks the routing table for the address this PC uses.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect((address, SERVER_PORT)).await?;
        match socket.local_addr()? {
            SocketAddr::V4(local) if !local.ip().is_loopback() => Ok(Self {
                address,
                local: *local.ip(),
            }),
            _ => Err(RouterError::NoRouter),
        }
    }

    /// Opens `port`, by the first protocol that works: PCP and NAT-PMP while UPnP is still searching.
    pub(super) async fn map(
        self,
        port: u16,
        nonce: Nonce,
        suggested: Option<SocketAddrV4>,
    ) -> Result<Mapping, RouterError> {
        let upnp = self.search();
        tokio::pin!(upnp);
        let direct = async {
            match self.pcp(port, nonce, suggested, LIFETIME).await {
                Ok(grant) => Ok((grant, Protocol::Pcp)),
                Err(error) => {
                    debug!(%error, "no mapping by PCP");
                    self.nat_pmp(port, suggested, LIFETIME)
                        .await
                        .map(|grant| (grant, Protocol::NatPmp))
                }
            }
        };
        tokio::pin!(direct);
        let mut found = None;
        let (grant, protocol) = loop {
            tokio::select! {
                result = &mut direct => match result {
                    Ok(done) => break done,
                    Err(error) => {
                        debug!(%error, "no mapping by NAT-PMP");
                        let gateway = match found {
                            Some(gateway) => gateway,
                            None => upnp.await,
                        };
                        let gateway: Gateway<Tokio> = gateway?;
                        let grant = upnp_map(&gateway, SocketAddrV4::new(self.local, port), suggested).await?;
                        break (grant, Protocol::Upnp(Box::new(gateway)));
                    }
                },
                gateway = &mut upnp, if found.is_none() => found = Some(gateway),
            }
        };
        debug!(
            protocol = protocol.name(),
            lifetime = grant.lifetime,
            "the router opened a port"
        );
        Ok(Mapping {
            grant,
            protocol,
            router: self,
        })
    }

    async fn pcp(
        self,
        port: u16,
        nonce: Nonce,
        suggested: Option<SocketAddrV4>,
        lifetime: u32,
    ) -> Result<Grant, RouterError> {
        let local = SocketAddrV4::new(self.local, port);
        let request = codec::pcp_request(nonce, local, suggested, lifetime);
        self.ask(&request, |answer| codec::pcp_answer(answer, nonce, port))
            .await
    }

    async fn nat_pmp(self, port: u16, suggested: Option<SocketAddrV4>, lifetime: u32) -> Result<Grant, RouterError> {
        let address = self
            .ask(&codec::nat_pmp_address_request(), codec::nat_pmp_address_answer)
            .await?;
        let request = codec::nat_pmp_request(port, suggested.map_or(port, |external| external.port()), lifetime);
        self.ask(&request, |answer| codec::nat_pmp_answer(answer, port, address))
            .await
    }

    /// Sends `request` until an answer that belongs to it comes. A refusal is an answer.
    async fn ask<T>(self, request: &[u8], read: impl Fn(&[u8]) -> Result<T, Refusal>) -> Result<T, RouterError> {
        let socket = UdpSocket::bind((self.local, 0)).await?;
        socket.connect((self.address, SERVER_PORT)).await?;
        let mut room = [0; LARGEST_ANSWER];
        for wait in WAITS {
            socket.send(request).await?;
            let answer = async {
                loop {
                    // An ICMP "port unreachable" of a router without the protocol ends the attempt at once.
                    let length = socket.recv(&mut room).await?;
                    match read(&room[..length]) {
                        Err(Refusal::Foreign) => {}
                        other => return Ok::<_, RouterError>(other?),
                    }
                }
            };
            if let Ok(done) = timeout(wait, answer).await {
                return done;
            }
        }
        Err(RouterError::Silent)
    }

    /// Looks for a UPnP gateway: only the router itself counts, or any device on the LAN could have this PC send HTTP
    /// requests where it likes.
    async fn search(self) -> Result<Gateway<Tokio>, RouterError> {
        let found = search_gateway(SearchOptions {
            bind_addr: SocketAddr::from((self.local, 0)),
            timeout: Some(SEARCH),
            single_search_timeout: Some(SEARCH),
            ..SearchOptions::default()
        });
        let gateway = found.await.map_err(|error| RouterError::Upnp(error.to_string()))?;
        if gateway.addr.ip() == IpAddr::V4(self.address) {
            Ok(gateway)
        } else {
            Err(RouterError::Upnp(
                "the gateway that answered is not the default router".to_owned(),
            ))
        }
    }
}

impl Protocol {
    fn name(&self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp(_) => "UPnP-IGD",
        }
    }
}

impl Mapping {
    /// Whether it was made at this router.
    pub(super) fn is_at(&self, router: Router) -> bool {
        self.router == router
    }

    /// Asks for more time by the protocol that made it.
    pub(super) async fn renew(&mut self, port: u16, nonce: Nonce) -> Result<(), RouterError> {
        let suggested = Some(self.grant.external);
        self.grant = match &self.protocol {
            Protocol::Pcp => self.router.pcp(port, nonce, suggested, LIFETIME).await?,
            Protocol::NatPmp => self.router.nat_pmp(port, suggested, LIFETIME).await?,
            Protocol::Upnp(gateway) => upnp_map(gateway, SocketAddrV4::new(self.router.local, port), suggested).await?,
        };
        Ok(())
    }

    /// Closes the port again.
    pub(super) async fn release(self, port: u16, nonce: Nonce) -> Result<(), RouterError> {
        match &self.protocol {
            // The answer to a deletion names no port, so it is not read as a grant; that it was sent is enough.
            Protocol::Pcp => {
                let local = SocketAddrV4::new(self.router.local, port);
                self.tell(&codec::pcp_request(nonce, local, None, 0)).await
            }
            Protocol::NatPmp => self.tell(&codec::nat_pmp_request(port, 0, 0)).await,
            Protocol::Upnp(gateway) => {
                let removed = gateway.remove_port(PortMappingProtocol::UDP, self.grant.external.port());
                upnp_call(removed).await
            }
        }
    }

    async fn tell(&self, request: &[u8]) -> Result<(), RouterError> {
        let socket = UdpSocket::bind((self.router.local, 0)).await?;
        socket.connect((self.router.address, SERVER_PORT)).await?;
        socket.send(request).await?;
        // Waiting for any answer is waiting until the request has arrived.
        let _ = timeout(WAITS[0], socket.recv(&mut [0; LARGEST_ANSWER])).await;
        Ok(())
    }
}

async fn upnp_map(
    gateway: &Gateway<Tokio>,
    local: SocketAddrV4,
    suggested: Option<SocketAddrV4>,
) -> Result<Grant, RouterError> {
    let IpAddr::V4(address) = upnp_call(gateway.get_external_ip()).await? else {
        return Err(RouterError::Upnp(
            "the router's external address is not IPv4".to_owned(),
        ));
    };
    if address.is_unspecified() {
        return Err(RouterError::Upnp("the router has no external address".to_owned()));
    }
    let wanted = suggested.map_or(local.port(), |external| external.port());
    let add = |lifetime| {
        timeout(
            CALL,
            gateway.add_port(PortMappingProtocol::UDP, wanted, local.into(), lifetime, DESCRIPTION),
        )
    };
    let (port, lifetime) = match add(LIFETIME).await.map_err(|_| RouterError::Silent)? {
        Ok(()) => (wanted, LIFETIME),
        // Such a router keeps the mapping until it is deleted; it is still renewed, in case the router restarts.
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            upnp_call(gateway.add_port(PortMappingProtocol::UDP, wanted, local.into(), 0, DESCRIPTION)).await?;
            (wanted, LIFETIME)
        }
        Err(_) => {
            let any = gateway.add_any_port(PortMappingProtocol::UDP, local.into(), LIFETIME, DESCRIPTION);
            (upnp_call(any).await?, LIFETIME)
        }
    };
    Ok(Grant {
        external: SocketAddrV4::new(address, port),
        lifetime,
    })
}

async fn upnp_call<T, E: std::fmt::Display>(call: impl Future<Output = Result<T, E>>) -> Result<T, RouterError> {
    match timeout(CALL, call).await {
        Ok(result) => result.map_err(|error| RouterError::Upnp(error.to_string())),
        Err(_) => Err(RouterError::Silent),
    }
}
