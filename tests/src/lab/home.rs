//! A home: a router of some kind and the PCs behind it.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use super::address::{self, ROUTER, ROUTER6, UPNP_ROUTER};
use super::internet::{Isp, Lab, become_router};
use super::kind::{Kind, Nat};
use super::netns::{Netns, wire};
use super::{rules, upnp};

/// What home to build.
#[derive(Debug, Clone)]
pub struct HomeSpec {
    kind: Kind,
    hosts: u8,
    isp: Option<Isp>,
    mapping_lifetime_s: u32,
}

/// A home that stands.
#[derive(Debug, Clone)]
pub struct Home {
    /// What it was built as.
    pub kind: Kind,
    /// Its number in the lab, from 1.
    pub number: u8,
    /// Its router.
    pub router: Netns,
    /// The router's address towards the internet or the provider.
    pub wan: Ipv4Addr,
    /// Its PCs.
    pub hosts: Vec<Host>,
}

/// A PC.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where it lives.
    pub netns: Netns,
    /// Its address on the LAN.
    pub address: Ipv4Addr,
    /// Its global IPv6 address, in homes that have IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Its router's address on the LAN.
    pub gateway: Ipv4Addr,
}

impl HomeSpec {
    /// A home with one PC.
    pub fn new(kind: impl Into<Kind>) -> Self {
        Self {
            kind: kind.into(),
            hosts: 1,
            isp: None,
            mapping_lifetime_s: rules::MAPPING_LIFETIME_S,
        }
    }

    /// With this many PCs, at most 12.
    #[must_use]
    pub fn hosts(mut self, hosts: u8) -> Self {
        self.hosts = hosts;
        self
    }

    /// With a router that forgets a mapping after this many seconds without a packet.
    #[must_use]
    pub fn mapping_lifetime(mut self, seconds: u32) -> Self {
        self.mapping_lifetime_s = seconds;
        self
    }

    /// Behind a provider it shares with others, instead of one of its own.
    #[must_use]
    pub fn behind(mut self, isp: &Isp) -> Self {
        self.isp = Some(isp.clone());
        self
    }
}

impl Home {
    pub(super) fn build(lab: &mut Lab, number: u8, spec: HomeSpec) -> Result<Self> {
        ensure!(spec.hosts <= 12, "a home has at most 12 PCs");
        let kind = spec.kind;
        let router = lab.node(&format!("r{number}"))?;
        let isp = match (&spec.isp, kind.isp) {
            (Some(isp), _) => Some(isp.clone()),
            (None, Some(nat)) => Some(lab.isp(nat)?),
            (None, None) => None,
        };
        let wan = connect(lab, number, kind, &router, isp.as_ref())?;
        become_router(&router, spec.mapping_lifetime_s)?;
        let mut home = Self {
            kind,
            number,
            router,
            wan,
            hosts: Vec::new(),
        };
        home.build_lan(lab, spec.hosts)?;
        home.router.nft(&rules::nat(kind.nat, wan, spec.mapping_lifetime_s))?;
        if kind.ipv6 {
            home.add_ipv6(lab)?;
        }
        if kind.upnp {
            upnp::start(lab, &home)?;
        }
        Ok(home)
    }

    /// The first PC.
    pub fn host(&self) -> &Host {
        &self.hosts[0]
    }

    fn build_lan(&mut self, lab: &mut Lab, hosts: u8) -> Result<()> {
        let open = if self.kind.nat == Nat::Open {
            ensure!(
                lab.open_homes < address::MAX_OPEN_HOMES,
                "a lab has at most {} open homes",
                address::MAX_OPEN_HOMES
            );
            lab.open_homes += 1;
            Some(lab.open_homes - 1)
        } else {
            None
        };
        let (gateway, mask) = match open {
            Some(lan) => (address::open_lan(lan, 1), 28),
            None => (address::lan(self.number, 1), 24),
        };
        // A bridge would take the address of a port, and with a PC's cable it would move to another home.
        let hardware = format!("02:00:00:00:00:{:02x}", self.number);
        self.router.ip(&format!(
            "link add lan address {hardware} type bridge\nlink set lan up\naddr add {gateway}/{mask} dev lan\n"
        ))?;
        if let Some(lan) = open {
            let network = address::open_lan(lan, 0);
            lab.inet.ip(&format!("route add {network}/28 via {}\n", self.wan))?;
        }
        for host in 0..hosts {
            let address = match open {
                Some(lan) => address::open_lan(lan, 2 + host),
                None => address::lan(self.number, 10 + host),
            };
            let netns = lab.node(&format!("h{}{}", self.number, char::from(b'a' + host)))?;
            let port = format!("l-{host}");
            wire(&netns, "eth0", &self.router, &port)?;
            self.router.ip(&format!("link set {port} master lan\n"))?;
            netns.ip(&format!(
                "addr add {address}/{mask} dev eth0\nroute add default via {gateway}\n"
            ))?;
            self.hosts.push(Host {
                netns,
                address,
                address6: None,
                gateway,
            });
        }
        Ok(())
    }

    fn add_ipv6(&mut self, lab: &Lab) -> Result<()> {
        let (number, outer, inner) = (self.number, address::wan6(self.number), address::lan6(self.number, 1));
        self.router.sysctl(&[("ipv6/conf/all/forwarding", "1")])?;
        self.router.ip(&format!(
            "addr add {outer}/64 dev wan nodad\nroute add default via {ROUTER6}\naddr add {inner}/64 dev lan nodad\n"
        ))?;
        self.router.nft(rules::FIREWALL6)?;
        let network = address::lan6(number, 0);
        lab.inet.ip(&format!("route add {network}/64 via {outer}\n"))?;
        for (host, last) in self.hosts.iter_mut().zip(16..) {
            let address = address::lan6(number, last);
            host.netns.ip(&format!(
                "addr add {address}/64 dev eth0 nodad\nroute add default via {inner}\n"
            ))?;
            host.address6 = Some(address);
        }
        Ok(())
    }
}

/// Connects a home's router to the segment or to its provider; its address there.
fn connect(lab: &Lab, number: u8, kind: Kind, router: &Netns, isp: Option<&Isp>) -> Result<Ipv4Addr> {
    let (wan, mask, gateway) = match isp {
        Some(isp) => {
            let port = format!("l-r{number}");
            wire(router, "wan", &isp.netns, &port)?;
            isp.netns.ip(&format!("link set {port} master lan\n"))?;
            (address::behind_isp(number), 10, address::ISP_GATEWAY)
        }
        None => {
            lab.attach(router, "wan")?;
            if kind.upnp {
                (address::upnp_wan(number), 24, UPNP_ROUTER)
            } else {
                (address::wan(number), 24, ROUTER)
            }
        }
    };
    router.ip(&format!(
        "addr add {wan}/{mask} dev wan\nroute add default via {gateway}\n"
    ))?;
    Ok(wan)
}
