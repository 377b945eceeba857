//! A NAT as RFC 4787 describes it, for simulations: mapping × filtering × expiry.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// First public port given out; the following ones count up.
const FIRST_PORT: u16 = 20_000;

/// One NAT (or, with [`Mapping::None`], one firewall) between hosts and the internet.
#[derive(Debug, Clone)]
pub struct NatModel {
    mapping: Mapping,
    filtering: Filtering,
    public: IpAddr,
    lifetime: Duration,
    next_port: u16,
    /// Where public ports are drawn from, when they are not given out in a row.
    drawn: Option<StdRng>,
    mappings: BTreeMap<MappingKey, OpenPort>,
}

/// What decides whether two packets share a public port: the host, and as much of the destination as the kind looks at.
type MappingKey = (SocketAddr, Option<IpAddr>, Option<u16>);

#[derive(Debug, Clone)]
struct OpenPort {
    host: SocketAddr,
    public: SocketAddr,
    /// Where the host sent to through it, and when.
    sent: BTreeMap<SocketAddr, Instant>,
}

impl NatModel {
    /// A NAT of a kind with its public address. An unused mapping is forgotten after `lifetime`.
    pub fn new(mapping: Mapping, filtering: Filtering, public: IpAddr, lifetime: Duration) -> Self {
        Self {
            mapping,
            filtering,
            public,
            lifetime,
            next_port: FIRST_PORT,
            drawn: None,
            mappings: BTreeMap::new(),
        }
    }

    /// Public ports are drawn at random instead of given out in a row.
    #[must_use]
    pub fn drawing_ports(mut self, seed: u64) -> Self {
        self.drawn = Some(StdRng::seed_from_u64(seed));
        self
    }

    /// A host sends a packet: its source on the internet, or none when it does not get out.
    pub fn outbound(&mut self, host: SocketAddr, to: SocketAddr, now: Instant) -> Option<SocketAddr> {
        self.expire(now);
        let key = match self.mapping {
            Mapping::Blocked => return None,
            Mapping::AddressDependent => (host, Some(to.ip()), None),
            Mapping::AddressAndPortDependent => (host, Some(to.ip()), Some(to.port())),
            _ => (host, None, None),
        };
        if !self.mappings.contains_key(&key) {
            let public = if self.mapping == Mapping::None {
                host
            } else {
                SocketAddr::new(self.public, self.free_port())
            };
            let sent = BTreeMap::new();
            self.mappings.insert(key, OpenPort { host, public, sent });
        }
        let open = self.mappings.get_mut(&key)?;
        open.sent.insert(to, now);
        Some(open.public)
    }

    /// A packet arrives from the internet: the host it goes to, or none when it is filtered.
    pub fn inbound(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) -> Option<SocketAddr> {
        self.expire(now);
        let open = self.mappings.values().find(|open| open.public == to)?;
        let admitted = match self.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => open.sent.keys().any(|sent| sent.ip() == from.ip()),
            _ => open.sent.contains_key(&from),
        };
        admitted.then_some(open.host)
    }

    /// It restarts: every mapping is gone, and ports are given out on from where it was.
    pub fn forget(&mut self) {
        self.mappings.clear();
    }

    fn free_port(&mut self) -> u16 {
        match &mut self.drawn {
            None => {
                self.next_port += 1;
                self.next_port
            }
            Some(rng) => {
                let taken = |port: &u16| self.mappings.values().any(|open| open.public.port() == *port);
                let mut draws = std::iter::repeat_with(|| rng.random_range(1024..=u16::MAX));
                draws.find(|port| !taken(port)).unwrap_or(FIRST_PORT)
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        for open in self.mappings.values_mut() {
            open.sent.retain(|_, sent| now < *sent + lifetime);
        }
        self.mappings.retain(|_, open| !open.sent.is_empty());
    }
}
