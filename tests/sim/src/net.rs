//! The internet: homes behind routers, their lines, and STUN servers.
//!
//! Every home uses the same private addresses, as real ones do: a peer's LAN address may be somebody else's here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_agent_core::nat::StunEndpoint;
use lanrage_agent_core::nat::model::NatModel;
use lanrage_relay_core::stun::{Listen, LocalPort, Received, Responder, Verdict};
use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::Rng;
use rand::rngs::StdRng;

use crate::scenario::Home;

const STUN_PORTS: [u16; 2] = [3478, 3479];
const STUN: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 10), Ipv4Addr::new(203, 0, 113, 11)];
/// Between two PCs of one home.
const LAN_DELAY: Duration = Duration::from_millis(1);
/// What a packet that is overtaken waits longer.
const OVERTAKEN: Duration = Duration::from_millis(40);

/// A datagram under way, and who really sent it.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub sender: usize,
    pub data: Bytes,
    /// No line loses it: it shows whether there is a way at all.
    pub certain: bool,
}

/// Where a datagram is next.
#[derive(Debug, Clone)]
pub enum Arrival {
    Stun {
        from: SocketAddr,
        on: LocalPort,
        datagram: Datagram,
    },
    /// In front of a home's router.
    Router {
        home: usize,
        from: SocketAddr,
        to: SocketAddr,
        datagram: Datagram,
    },
    /// In a home's network.
    Lan {
        home: usize,
        from: SocketAddr,
        to: SocketAddr,
        datagram: Datagram,
        /// It did not come through the router.
        local: bool,
    },
}

#[derive(Debug)]
pub struct Net {
    homes: Vec<Line>,
    stun: Responder,
}

#[derive(Debug)]
struct Line {
    spec: Home,
    nat: NatModel,
    burst: Option<(Instant, u8)>,
}

impl Net {
    pub fn new(homes: &[Home]) -> Self {
        let line = |(index, spec): (usize, &Home)| Line {
            spec: *spec,
            nat: router(index, spec),
            burst: None,
        };
        let addresses = STUN.iter().map(|ip| IpAddr::V4(*ip)).collect();
        #[expect(clippy::expect_used, reason = "two hosts and two ports can be listened on")]
        let listen = Listen::new(addresses, STUN_PORTS).expect("constants");
        Self {
            homes: homes.iter().enumerate().map(line).collect(),
            stun: Responder::new(listen),
        }
    }

    /// The STUN server everybody is told of.
    pub fn stun_servers() -> Vec<StunEndpoint> {
        vec![StunEndpoint {
            address: (STUN[0], STUN_PORTS[0]).into(),
            second_port: STUN_PORTS[1],
        }]
    }

    /// The address of the PC at a place in a home.
    pub fn address(&self, home: usize, place: u8) -> Ipv4Addr {
        let home_number = u8::try_from(home).unwrap_or(u8::MAX);
        match self.homes[home].spec.mapping {
            Mapping::None => Ipv4Addr::new(192, 0, 2, home_number * 16 + place),
            _ => Ipv4Addr::new(192, 168, 1, 10 + place),
        }
    }

    pub fn spec(&self, home: usize) -> Home {
        self.homes[home].spec
    }

    /// The router forgets everything.
    pub fn expire(&mut self, home: usize) {
        self.homes[home].nat.forget();
    }

    pub fn burst(&mut self, home: usize, until: Instant, percent: u8) {
        self.homes[home].burst = Some((until, percent));
    }

    /// Until when next to nothing gets through a home's line.
    pub fn cut_until(&self, home: usize, now: Instant) -> Option<Instant> {
        let (until, percent) = self.homes[home].burst?;
        (percent >= 90 && until > now).then_some(until)
    }

    /// Whether a home's line has a burst of losses now.
    pub fn has_burst(&self, home: usize, now: Instant) -> bool {
        self.homes[home].burst.is_some_and(|(until, _)| until > now)
    }

    /// How long one packet is on a home's line: once for every copy that arrives, so not at all when it is lost.
    pub fn leg(&self, home: usize, certain: bool, rng: &mut StdRng, now: Instant) -> Vec<Duration> {
        let Line { spec, burst, .. } = &self.homes[home];
        let burst = burst.filter(|(until, _)| *until > now);
        let loss = burst.map_or(spec.loss, |(_, percent)| u16::from(percent) * 10);
        let mut happens = |per_thousand: u16| !certain && rng.random_range(0..1000) < per_thousand;
        let copies = match (happens(loss), happens(spec.duplicated)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        let overtaken = happens(spec.reordered);
        let mut delay = || {
            let jitter = rng.random_range(0..=u64::from(spec.jitter_ms) * 1000);
            let delay = Duration::from_millis(spec.delay_ms.into()) + Duration::from_micros(jitter);
            if overtaken { delay + OVERTAKEN } else { delay }
        };
        (0..copies).map(|_| delay()).collect()
    }

    /// A PC sends. Gives where it is next, and when.
    pub fn send(
        &mut self,
        (home, from): (usize, SocketAddr),
        to: SocketAddr,
        datagram: &Datagram,
        rng: &mut StdRng,
        now: Instant,
    ) -> Vec<(Instant, Arrival)> {
        if self.is_inside(home, to.ip()) {
            let arrival = Arrival::Lan {
                home,
                from,
                to,
                datagram: datagram.clone(),
                local: true,
            };
            return vec![(now + LAN_DELAY, arrival)];
        }
        let Some(source) = self.homes[home].nat.outbound(from, to, now) else {
            return Vec::new();
        };
        let mut next = Vec::new();
        for out in self.leg(home, datagram.certain, rng, now) {
            let stun = STUN.iter().position(|ip| IpAddr::V4(*ip) == to.ip());
            if let Some(address) = stun {
                let Some(port) = STUN_PORTS.iter().position(|port| *port == to.port()) else {
                    continue;
                };
                let arrival = Arrival::Stun {
                    from: source,
                    on: LocalPort { address, port },
                    datagram: datagram.clone(),
                };
                next.push((now + out, arrival));
            } else {
                next.extend(self.towards(source, to, datagram, out, rng, now));
            }
        }
        next
    }

    /// A STUN server answers.
    pub fn ask_stun(
        &self,
        from: SocketAddr,
        on: LocalPort,
        datagram: &Datagram,
        rng: &mut StdRng,
        now: Instant,
    ) -> Vec<(Instant, Arrival)> {
        let to = self.stun.listen().socket_address(on).map(|at| at.ip());
        let verdict = self.stun.handle(&datagram.data, Received { from, on, to });
        let Verdict::Reply { bytes, send_from } = verdict else {
            return Vec::new();
        };
        let Some(source) = self.stun.listen().socket_address(send_from) else {
            return Vec::new();
        };
        let answer = Datagram {
            data: bytes.into(),
            ..datagram.clone()
        };
        self.towards(source, from, &answer, Duration::ZERO, rng, now)
    }

    /// Whom a router lets a packet through to.
    pub fn pass(&mut self, home: usize, from: SocketAddr, to: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let Line { spec, nat, .. } = &mut self.homes[home];
        if (spec.mapping, spec.filtering) == (Mapping::None, Filtering::EndpointIndependent) {
            return Some(to);
        }
        nat.inbound(from, to, now)
    }

    fn towards(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &Datagram,
        so_far: Duration,
        rng: &mut StdRng,
        now: Instant,
    ) -> Vec<(Instant, Arrival)> {
        let Some(home) = (0..self.homes.len()).find(|home| self.is_at(*home, to.ip())) else {
            return Vec::new();
        };
        let legs = self.leg(home, datagram.certain, rng, now);
        let arrival = |leg| {
            let datagram = datagram.clone();
            (
                now + so_far + leg,
                Arrival::Router {
                    home,
                    from,
                    to,
                    datagram,
                },
            )
        };
        legs.into_iter().map(arrival).collect()
    }

    fn is_inside(&self, home: usize, ip: IpAddr) -> bool {
        match self.homes[home].spec.mapping {
            Mapping::None => self.is_at(home, ip),
            _ => matches!(ip, IpAddr::V4(ip) if ip.is_private()),
        }
    }

    /// Whether packets from the internet to this address come to this home.
    fn is_at(&self, home: usize, ip: IpAddr) -> bool {
        match (self.homes[home].spec.mapping, ip) {
            (Mapping::None, IpAddr::V4(ip)) => {
                let octets = ip.octets();
                octets[..3] == [192, 0, 2] && usize::from(octets[3] / 16) == home
            }
            _ => ip == public(home),
        }
    }
}

fn public(home: usize) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, 10 + u8::try_from(home).unwrap_or(0)).into()
}

fn router(home: usize, spec: &Home) -> NatModel {
    let lifetime = Duration::from_secs(spec.lifetime_s.into());
    let router = NatModel::new(spec.mapping, spec.filtering, public(home), lifetime);
    if spec.random_ports {
        router.drawing_ports(home as u64)
    } else {
        router
    }
}
