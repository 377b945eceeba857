//! Which pairs of homes connect, and how: every kind against every kind with the real programs, all at once.
//!
//! One internet holds two homes of every kind, and a few special neighbourhoods; all their agents are in one party, so every
//! pair forms at the same time. A cell of the table is a home of the row's kind on one side and of the column's on the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::agent::{Agent, Peer};
use super::control::Control;
use super::home::{Home, HomeSpec, Host};
use super::internet::Lab;
use super::kind::{Kind, Nat};
use super::ping::Pinger;

/// A direct path must be found within this.
pub const LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The kinds of the full matrix.
pub fn all_kinds() -> Vec<Kind> {
    let mut kinds = quick_kinds();
    kinds.extend([
        Kind::upnp(Nat::Symmetric),
        Kind::ipv6(),
        Kind::cgnat(Nat::FullCone, Nat::FullCone),
        Kind::cgnat(Nat::PortRestricted, Nat::PortRestricted),
    ]);
    kinds
}

/// The kinds of the quick matrix.
pub fn quick_kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = [Nat::Open, Nat::FullCone, Nat::AddressRestricted, Nat::PortRestricted]
        .map(Kind::from)
        .into();
    kinds.extend([
        Kind::upnp(Nat::PortRestricted),
        Nat::Symmetric.into(),
        Nat::UdpBlocked.into(),
    ]);
    kinds
}

/// What one pair came to.
#[derive(Debug, Clone)]
pub struct Cell {
    pub a: String,
    pub b: String,
    pub expected_direct: bool,
    /// What a person reads: `direct 0.8 ms`, or the reason there is no path.
    pub found: String,
    /// What contradicts the expectation.
    pub fault: Option<String>,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Matrix {
    pub kinds: Vec<Kind>,
    /// By row and column kind: both of (A, B) and (B, A) when the kinds differ.
    pub cells: BTreeMap<(Kind, Kind), Vec<Cell>>,
    /// Pairs that are not kind against kind: same LAN, same provider.
    pub special: Vec<Cell>,
    /// From the last join until every pair that should be direct was.
    pub took: Duration,
}

/// An agent and where it lives.
struct Place {
    label: String,
    kind: Kind,
    agent: Agent,
    host: Host,
}

/// Two places that must be compared.
struct Pair<'a> {
    a: &'a Place,
    b: &'a Place,
    direct: bool,
    /// What the path's address must be, besides direct.
    via: Via,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Any,
    Lan,
    Ipv6,
}

/// Runs the matrix for `kinds`. `say` is told what is being done.
pub fn run(kinds: &[Kind], say: &dyn Fn(&str)) -> Result<Matrix> {
    say("building the internet");
    let mut lab = Lab::new()?;
    let sides = [homes(&mut lab, kinds)?, homes(&mut lab, kinds)?];
    let neighbours = lab.home(HomeSpec::new(Nat::PortRestricted).hosts(2))?;
    let shared = |lab: &mut Lab, nat| -> Result<Vec<Home>> {
        let isp = lab.isp(nat)?;
        (0..2)
            .map(|_| lab.home(HomeSpec::new(Nat::PortRestricted).behind(&isp)))
            .collect()
    };
    let hairpin = shared(&mut lab, Nat::Hairpin)?;
    let no_hairpin = shared(&mut lab, Nat::PortRestricted)?;

    say("starting the control server and the agents");
    let control = Control::start(&lab.srv, lab.dir())?;
    let mut hosts: Vec<(String, Kind, Host)> = Vec::new();
    for (side, name) in sides.iter().zip(["A", "B"]) {
        hosts.extend(
            side.iter()
                .map(|home| (format!("{name} {}", home.kind), home.kind, home.host().clone())),
        );
    }
    let regular = hosts.len();
    for (index, host) in neighbours.hosts.iter().enumerate() {
        hosts.push((format!("LAN {}", index + 1), neighbours.kind, host.clone()));
    }
    for (label, homes) in [("hairpinning ISP", &hairpin), ("plain ISP", &no_hairpin)] {
        for (index, home) in homes.iter().enumerate() {
            hosts.push((format!("{label} {}", index + 1), home.kind, home.host().clone()));
        }
    }
    let places = start_agents(&lab, hosts)?;

    say(&format!("{} agents form one party", places.len()));
    form_party(&control, &places)?;
    let mut pairs = regular_pairs(&places[..regular / 2], &places[regular / 2..regular]);
    let special = [
        (regular, true, Via::Lan),
        (regular + 2, true, Via::Any),
        (regular + 4, false, Via::Any),
    ];
    let regular_count = pairs.len();
    pairs.extend(special.map(|(first, direct, via)| Pair {
        a: &places[first],
        b: &places[first + 1],
        direct,
        via,
    }));

    say("waiting for the paths");
    let took = wait_for_paths(&places, &pairs);
    say("pinging every pair through the tunnel");
    let cells = judge(&places, &pairs)?;
    let mut matrix = Matrix {
        kinds: kinds.to_vec(),
        cells: BTreeMap::new(),
        special: cells[regular_count..].to_vec(),
        took,
    };
    for (pair, cell) in pairs.iter().zip(cells).take(regular_count) {
        matrix.cells.entry((pair.a.kind, pair.b.kind)).or_default().push(cell);
    }
    Ok(matrix)
}

impl Matrix {
    /// Everything that contradicts the expectation.
    pub fn faults(&self) -> Vec<String> {
        let all = self.cells.values().flatten().chain(&self.special);
        all.filter_map(|cell| {
            cell.fault
                .as_ref()
                .map(|fault| format!("{} ↔ {}: {fault}", cell.a, cell.b))
        })
        .collect()
    }

    /// The matrix for people: a mark per cell, then what each mark stands for.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(std::iter::once(String::new()).chain(self.kinds.iter().map(Kind::to_string)));
        for row in &self.kinds {
            let cells = self.kinds.iter().map(|column| self.mark(*row, *column));
            table.add_row(std::iter::once(row.to_string()).chain(cells));
        }
        let mut text = format!("{table}\n\n");
        for cell in &self.special {
            text += &format!("{} ↔ {}: {}\n", cell.a, cell.b, cell.found);
        }
        let mut reasons: Vec<&str> = self
            .cells
            .values()
            .flatten()
            .filter(|cell| !cell.expected_direct)
            .map(|cell| cell.found.as_str())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        text += "\nWhat the pairs without a direct path say:\n";
        for reason in reasons {
            text += &format!("  {reason}\n");
        }
        text
    }

    fn mark(&self, row: Kind, column: Kind) -> String {
        let Some(cells) = self.cells.get(&(row, column)) else {
            return String::new();
        };
        match cells.iter().find(|cell| cell.fault.is_some()) {
            Some(wrong) => format!("WRONG: {}", wrong.fault.as_deref().unwrap_or_default()),
            None if cells.iter().all(|cell| cell.expected_direct) => cells[0].found.clone(),
            None => "none, said why".into(),
        }
    }
}

/// Whether two homes of these kinds must find a direct path.
pub fn expect_direct(a: Kind, b: Kind) -> bool {
    if a.ipv6 && b.ipv6 {
        return true;
    }
    let (a, b) = (reachability(a), reachability(b));
    match (a.min(b), a.max(b)) {
        (_, Reach::Blocked) => false,
        (friendlier, Reach::Unpredictable) => friendlier <= Reach::KnownAddress,
        _ => true,
    }
}

/// How hard a home is to reach, easiest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// By anybody.
    Anybody,
    /// From an address it has sent to, by any port.
    KnownAddress,
    /// Only from where it has sent to; its own address is known.
    KnownPort,
    /// As before, and its own address depends on the destination.
    Unpredictable,
    /// Not by UDP.
    Blocked,
}

fn reachability(kind: Kind) -> Reach {
    let of = |nat| match nat {
        Nat::Open | Nat::FullCone => Reach::Anybody,
        Nat::AddressRestricted => Reach::KnownAddress,
        Nat::PortRestricted | Nat::Linux | Nat::Hairpin => Reach::KnownPort,
        Nat::Symmetric => Reach::Unpredictable,
        Nat::UdpBlocked => Reach::Blocked,
    };
    let home = if kind.upnp { Reach::Anybody } else { of(kind.nat) };
    home.max(kind.isp.map_or(Reach::Anybody, of))
}

fn homes(lab: &mut Lab, kinds: &[Kind]) -> Result<Vec<Home>> {
    let build = |kind: &Kind| {
        lab.home(HomeSpec::new(*kind))
            .with_context(|| format!("building a home of kind {kind}"))
    };
    kinds.iter().map(build).collect()
}

/// Starts all agents at once.
fn start_agents(lab: &Lab, hosts: Vec<(String, Kind, Host)>) -> Result<Vec<Place>> {
    let dir = lab.dir();
    std::thread::scope(|scope| {
        let start = |(label, kind, host): (String, Kind, Host)| {
            let name = label.replace([' ', ':'], "-");
            scope.spawn(move || -> Result<Place> {
                let agent =
                    Agent::up(&host.netns, &name, dir).with_context(|| format!("starting the agent of {label}"))?;
                Ok(Place {
                    label,
                    kind,
                    agent,
                    host,
                })
            })
        };
        let threads: Vec<_> = hosts.into_iter().map(start).collect();
        threads.into_iter().map(joined).collect()
    })
}

fn form_party(control: &Control, places: &[Place]) -> Result<()> {
    let Some((first, others)) = places.split_first() else {
        bail!("a party needs somebody");
    };
    let invite = first
        .agent
        .host(&control.link, "matrix")?
        .invite
        .context("`host` printed no invite")?;
    std::thread::scope(|scope| {
        let join = |place: &'_ Place| {
            place
                .agent
                .join(&invite)
                .with_context(|| format!("{} joining", place.label))
        };
        let threads: Vec<_> = others.iter().map(|place| scope.spawn(move || join(place))).collect();
        threads.into_iter().try_for_each(|thread| joined(thread).map(drop))
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn regular_pairs<'a>(a_side: &'a [Place], b_side: &'a [Place]) -> Vec<Pair<'a>> {
    let pair = |a: &'a Place, b: &'a Place| Pair {
        a,
        b,
        direct: expect_direct(a.kind, b.kind),
        via: if a.kind.ipv6 && b.kind.ipv6 {
            Via::Ipv6
        } else {
            Via::Any
        },
    };
    a_side
        .iter()
        .flat_map(|a| b_side.iter().map(move |b| pair(a, b)))
        .collect()
}

/// Waits until every pair that should be direct is, both ways, or time is up; how long that took.
fn wait_for_paths(places: &[Place], pairs: &[Pair<'_>]) -> Duration {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        let views = views(places);
        let arrived = |from: &Place, to: &Place| seen(&views, from, to).is_some_and(Peer::is_direct);
        if pairs
            .iter()
            .filter(|pair| pair.direct)
            .all(|pair| arrived(pair.a, pair.b) && arrived(pair.b, pair.a))
        {
            break;
        }
    }
    start.elapsed()
}

/// What every agent says of its peers, by agent name.
type Views = BTreeMap<String, Vec<Peer>>;

fn views(places: &[Place]) -> Views {
    let ask = |place: &Place| Some((place.agent.name().to_owned(), place.agent.peers().ok()?));
    places.iter().filter_map(ask).collect()
}

fn seen<'a>(views: &'a Views, from: &Place, to: &Place) -> Option<&'a Peer> {
    views
        .get(from.agent.name())?
        .iter()
        .find(|peer| peer.name == to.agent.name())
}

fn judge(places: &[Place], pairs: &[Pair<'_>]) -> Result<Vec<Cell>> {
    let views = views(places);
    let judge = |pair: &Pair<'_>| -> Result<Cell> {
        let mut cell = Cell {
            a: pair.a.label.clone(),
            b: pair.b.label.clone(),
            expected_direct: pair.direct,
            found: String::new(),
            fault: None,
        };
        for (from, to) in [(pair.a, pair.b), (pair.b, pair.a)] {
            let (found, fault) = match seen(&views, from, to) {
                None => (
                    format!("{} does not know {}", from.label, to.label),
                    Some("unknown peer".into()),
                ),
                Some(peer) if peer.is_direct() => judge_direct(pair, from, to, peer)?,
                Some(peer) => judge_pathless(pair, peer),
            };
            cell.found = found;
            cell.fault = cell.fault.or(fault);
        }
        Ok(cell)
    };
    pairs.iter().map(judge).collect()
}

fn judge_direct(pair: &Pair<'_>, from: &Place, to: &Place, peer: &Peer) -> Result<(String, Option<String>)> {
    let answer = Pinger::new(&from.host.netns, peer.virtual_ip)?.first_answer(Duration::from_millis(200), ANSWER_LIMIT);
    let Ok(round_trip) = answer else {
        return Ok(("direct".into(), Some("says direct, but no ping comes through".into())));
    };
    let address = peer.path.address.map(|address| address.ip());
    let fault = match pair.via {
        _ if !pair.direct => Some("direct, which this lab should not allow".into()),
        Via::Lan if address != Some(to.host.address.into()) => Some(format!("not by the LAN but by {address:?}")),
        Via::Ipv6 if address != to.host.address6.map(Into::into) => Some(format!("not by IPv6 but by {address:?}")),
        _ => None,
    };
    Ok((format!("direct {:.1} ms", round_trip.as_secs_f64() * 1e3), fault))
}

fn judge_pathless(pair: &Pair<'_>, peer: &Peer) -> (String, Option<String>) {
    match peer.reason.as_deref().filter(|reason| !reason.is_empty()) {
        _ if pair.direct => {
            let reason = peer.reason.as_deref().unwrap_or("no reason given");
            (
                format!("{}: {reason}", peer.path.kind),
                Some(format!("not direct: {reason}")),
            )
        }
        Some(reason) => (reason.to_owned(), None),
        None if peer.path.kind == "relay" => ("relay".into(), None),
        None => ("no path".into(), Some("no path and no reason".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expectation_is_what_nats_allow() {
        let kind = |text: &str| text.parse::<Kind>().unwrap();
        let direct = |a: &str, b: &str| expect_direct(kind(a), kind(b));
        assert!(direct("port-restricted", "port-restricted"));
        assert!(direct("symmetric", "address-restricted") && direct("upnp", "symmetric"));
        assert!(!direct("symmetric", "port-restricted") && !direct("symmetric", "symmetric"));
        assert!(direct("upnp-symmetric", "symmetric"));
        assert!(direct("ipv6", "ipv6") && !direct("ipv6", "symmetric"));
        assert!(!direct("open", "udp-blocked"));
        assert!(!direct("cgnat:full-cone:port-restricted", "symmetric"));
    }
}
