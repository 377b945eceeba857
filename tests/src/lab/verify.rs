//! Proof that every NAT kind of the lab is what its name says.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};

use super::home::{Home, HomeSpec};
use super::internet::Lab;
use super::kind::{Kind, Nat};
use super::portmap;
use super::probe::{self, Behaviour, Filtering, Mapping, ProbeServer};

/// What was found for one kind, and what is wrong with it.
#[derive(Debug)]
pub struct Verdict {
    pub kind: Kind,
    pub behaviour: Behaviour,
    /// For UPnP homes: whether the port it opened on request lets a stranger in.
    pub opens_ports: Option<bool>,
    /// Empty when the kind is what it should be.
    pub faults: Vec<String>,
}

/// Every kind the lab offers.
pub fn all_kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Nat::ALL.into_iter().map(Kind::from).collect();
    kinds.extend([
        Kind::upnp(Nat::PortRestricted),
        Kind::upnp(Nat::Symmetric),
        Kind::ipv6(),
        Kind::cgnat(Nat::PortRestricted, Nat::PortRestricted),
        Kind::cgnat(Nat::FullCone, Nat::FullCone),
        Kind::cgnat(Nat::PortRestricted, Nat::Hairpin),
        Kind::cgnat(Nat::Linux, Nat::Symmetric),
    ]);
    kinds
}

/// Builds one lab with a home of every kind and examines all of them at once.
pub fn verify(kinds: &[Kind]) -> Result<Vec<Verdict>> {
    let mut lab = Lab::new()?;
    let homes: Vec<Home> = kinds
        .iter()
        .map(|kind| {
            lab.home(HomeSpec::new(*kind).hosts(2))
                .with_context(|| format!("building a home of kind {kind}"))
        })
        .collect::<Result<_>>()?;
    let server = ProbeServer::start(&lab.srv)?;
    let verdicts = std::thread::scope(|scope| {
        let lab = &lab;
        let running: Vec<_> = homes
            .iter()
            .map(|home| scope.spawn(move || examine(lab, home)))
            .collect();
        let outcome = |thread: std::thread::ScopedJoinHandle<'_, Result<Verdict>>| match thread.join() {
            Ok(verdict) => verdict,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        running.into_iter().map(outcome).collect()
    });
    drop(server);
    verdicts
}

fn examine(lab: &Lab, home: &Home) -> Result<Verdict> {
    let kind = home.kind;
    let behaviour = probe::examine(home.host(), &home.hosts[1], &lab.srv2)
        .with_context(|| format!("examining a home of kind {kind}"))?;
    let opens_ports = if kind.upnp { Some(opens_ports(lab, home)?) } else { None };
    let mut faults = faults(&behaviour, &expected(kind));
    if opens_ports == Some(false) {
        faults.push("the port it opened on request lets nobody in".into());
    }
    let outer = home.kind.isp.is_some();
    if outer && behaviour.public.is_some_and(|public| *public.ip() == home.wan) {
        faults.push("the provider does not translate".into());
    }
    Ok(Verdict {
        kind,
        behaviour,
        opens_ports,
        faults,
    })
}

fn opens_ports(lab: &Lab, home: &Home) -> Result<bool> {
    let host = home.host();
    let listener = host.netns.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    let public = portmap::open(&host.netns, host.gateway, listener.local_addr()?.port())?;
    probe::knock(&lab.srv2, public, &listener)
}

/// What a kind promises; none = not promised either way.
struct Promise {
    mapping: Mapping,
    filtering: Option<Filtering>,
    stranger: bool,
    hairpin: Option<bool>,
    survives_collision: Option<bool>,
}

fn expected(kind: Kind) -> Promise {
    let inner = of_nat(kind.nat);
    match kind.isp.map(of_nat) {
        None => inner,
        Some(outer) => Promise {
            mapping: stricter(inner.mapping, outer.mapping),
            filtering: inner.filtering.max_by_strictness(outer.filtering),
            stranger: inner.stranger && outer.stranger,
            hairpin: None,
            survives_collision: None,
        },
    }
}

fn of_nat(nat: Nat) -> Promise {
    use Filtering as F;
    use Mapping as M;
    let (mapping, filtering, collision) = match nat {
        Nat::Open => (M::None, Some(F::EndpointIndependent), Some(true)),
        Nat::FullCone => (M::EndpointIndependent, Some(F::EndpointIndependent), Some(true)),
        Nat::AddressRestricted => (M::EndpointIndependent, Some(F::AddressDependent), Some(true)),
        Nat::PortRestricted | Nat::Hairpin => (M::EndpointIndependent, Some(F::AddressAndPortDependent), Some(true)),
        Nat::Linux => (M::EndpointIndependent, Some(F::AddressAndPortDependent), Some(false)),
        Nat::Symmetric | Nat::Sequential => (M::AddressAndPortDependent, Some(F::AddressAndPortDependent), None),
        Nat::UdpBlocked => (M::Blocked, None, None),
    };
    Promise {
        mapping,
        filtering,
        stranger: matches!(nat, Nat::Open | Nat::FullCone),
        hairpin: Some(matches!(nat, Nat::Open | Nat::Hairpin)),
        survives_collision: collision,
    }
}

fn stricter(inner: Mapping, outer: Mapping) -> Mapping {
    let rank = |mapping| match mapping {
        Mapping::None => 0,
        Mapping::EndpointIndependent => 1,
        Mapping::AddressDependent => 2,
        Mapping::AddressAndPortDependent => 3,
        Mapping::Blocked => 4,
    };
    if rank(inner) > rank(outer) { inner } else { outer }
}

trait Strictness {
    fn max_by_strictness(self, other: Self) -> Self;
}

impl Strictness for Option<Filtering> {
    fn max_by_strictness(self, other: Self) -> Self {
        let rank = |filtering: Filtering| match filtering {
            Filtering::EndpointIndependent => 0,
            Filtering::AddressDependent => 1,
            Filtering::AddressAndPortDependent => 2,
        };
        let (a, b) = (self?, other?);
        Some(if rank(a) > rank(b) { a } else { b })
    }
}

fn faults(found: &Behaviour, promise: &Promise) -> Vec<String> {
    let mut faults = Vec::new();
    if found.mapping != promise.mapping {
        faults.push(format!("mapping is {}, not {}", found.mapping, promise.mapping));
    }
    if found.filtering != promise.filtering {
        faults.push(format!(
            "filtering is {:?}, not {:?}",
            found.filtering, promise.filtering
        ));
    }
    if !found.tcp {
        faults.push("TCP does not get out".into());
    }
    let mut switch = |name: &str, found: bool, promised: Option<bool>| {
        if promised.is_some_and(|promised| promised != found) {
            faults.push(format!("{name} is {found}"));
        }
    };
    switch("a stranger getting in", found.stranger, Some(promise.stranger));
    switch(
        "hairpinning",
        found.hairpin,
        promise.hairpin.filter(|_| found.mapping != Mapping::Blocked),
    );
    switch(
        "surviving a port collision",
        found.survives_collision,
        promise.survives_collision,
    );
    faults
}

/// The proof as a table for people.
pub fn table(verdicts: &[Verdict]) -> String {
    let yes = |value: bool| if value { "yes" } else { "no" };
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header([
        "kind",
        "TCP gets out",
        "mapping",
        "filtering",
        "stranger gets in",
        "hairpin",
        "survives port collision",
        "opens ports",
        "public address",
        "as named",
    ]);
    for verdict in verdicts {
        let found = &verdict.behaviour;
        let verdict_text = if verdict.faults.is_empty() {
            "yes".into()
        } else {
            format!("NO: {}", verdict.faults.join("; "))
        };
        table.add_row([
            verdict.kind.to_string(),
            yes(found.tcp).into(),
            found.mapping.to_string(),
            found
                .filtering
                .map_or_else(|| "-".into(), |filtering| filtering.to_string()),
            yes(found.stranger).into(),
            yes(found.hairpin).into(),
            yes(found.survives_collision).into(),
            verdict.opens_ports.map_or("-", yes).into(),
            found.public.map_or_else(|| "-".into(), |public| public.to_string()),
            verdict_text,
        ]);
    }
    table.to_string()
}
