//! Which pairs of homes connect, and how: every kind against every kind with the real programs, all at once.
//!
//! One internet holds two homes of every kind, and a few special neighbourhoods; all their agents are in one party, so every
//! pair forms at the same time. A cell of the table is a home of the row's kind on one side and of the column's on the other.

mod expect;
mod judge;
mod report;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use self::expect::Expected;
use self::judge::{judge, seen, views};
use super::agent::{Agent, Peer};
use super::control::Control;
use super::home::{Home, HomeSpec, Host};
use super::internet::Lab;
use super::kind::{Kind, Nat};
use super::verify;

/// A direct path must be found within this, and so must a relay where there is none: two attempts, thirty agents and their internet
/// on one machine. [`Matrix::took`] says how long it really was.
pub const LIMIT: Duration = Duration::from_secs(60);
/// A pair that cannot have one must say why within this: agents that do not know better try three times first, the last time
/// until 19 s after they met.
const REASON_LIMIT: Duration = Duration::from_secs(30);

/// What the labels of the two homes of a kind begin with.
const SIDES: [&str; 2] = ["A", "B"];

/// The kinds of the full matrix.
pub fn all_kinds() -> Vec<Kind> {
    let mut kinds = quick_kinds();
    kinds.extend([
        Kind::upnp(Nat::Symmetric),
        Kind::ipv6(),
        Kind::cgnat(Nat::FullCone, Nat::FullCone),
        Kind::cgnat(Nat::PortRestricted, Nat::PortRestricted),
        Kind::cgnat(Nat::AddressRestricted, Nat::FullCone),
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
    pub expected: Expected,
    /// What a person reads: `direct 0.8 ms`, `relayed 21 ms`, or `none`.
    pub found: String,
    /// What both sides say of why there is no direct path, where none is expected.
    pub reasons: Vec<String>,
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
    /// From the last join until every pair had the path it should have, or [`LIMIT`].
    pub took: Duration,
    /// Pairs that had none by then.
    pub late: Vec<String>,
}

/// An agent and where it lives.
struct Place {
    label: String,
    kind: Kind,
    agent: Agent,
    host: Host,
}

impl Place {
    /// What it is, whichever side it is on.
    fn side_less_label(&self) -> &str {
        let side_less = SIDES
            .iter()
            .find_map(|side| self.label.strip_prefix(side)?.strip_prefix(' '));
        side_less.unwrap_or(&self.label)
    }
}

/// Why there is no direct path, by who says it and of whom.
type Reasons = BTreeMap<(String, String), String>;

/// Two places that must be compared.
struct Pair<'a> {
    a: &'a Place,
    b: &'a Place,
    expected: Expected,
    /// What is said of it when it is relayed.
    words: &'static str,
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
    say("proving that every NAT is what its name says");
    for verdict in verify::verify(kinds)? {
        ensure!(
            verdict.faults.is_empty(),
            "{}: {}",
            verdict.kind,
            verdict.faults.join("; ")
        );
    }
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
    for (side, name) in sides.iter().zip(SIDES) {
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
        (regular, Expected::Direct, Via::Lan),
        (regular + 2, Expected::Direct, Via::Any),
        (regular + 4, Expected::Relayed, Via::Any),
    ];
    let regular_count = pairs.len();
    pairs.extend(special.map(|(first, expected, via)| Pair {
        words: expect::words(places[first].kind, places[first + 1].kind),
        a: &places[first],
        b: &places[first + 1],
        expected,
        via,
    }));

    say("waiting for the paths");
    let (took, late) = wait_for_paths(&places, &pairs);
    say("waiting for the relayed pairs to know why");
    let reasons = wait_for_reasons(&places, &pairs);
    say("pinging every pair through the tunnel");
    let cells = judge(&places, &pairs, &reasons)?;
    let mut matrix = Matrix {
        kinds: kinds.to_vec(),
        cells: BTreeMap::new(),
        special: cells[regular_count..].to_vec(),
        took,
        late,
    };
    for (pair, cell) in pairs.iter().zip(cells).take(regular_count) {
        matrix.cells.entry((pair.a.kind, pair.b.kind)).or_default().push(cell);
    }
    Ok(matrix)
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
        expected: Expected::of(a.kind, b.kind),
        words: expect::words(a.kind, b.kind),
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

/// Waits until every pair has the path it should have, both ways, or time is up; how long that took, and who has none.
fn wait_for_paths(places: &[Place], pairs: &[Pair<'_>]) -> (Duration, Vec<String>) {
    let start = Instant::now();
    loop {
        let asked = start.elapsed();
        let views = views(places);
        let arrived = |pair: &Pair<'_>, from: &Place, to: &Place| {
            seen(&views, from, to).is_some_and(|peer| match pair.expected {
                Expected::Direct => peer.is_direct(),
                Expected::Relayed => peer.is_relayed(),
                Expected::Either => peer.is_direct() || peer.is_relayed(),
            })
        };
        let missing = pairs
            .iter()
            .filter(|pair| !arrived(pair, pair.a, pair.b) || !arrived(pair, pair.b, pair.a));
        let missing: Vec<String> = missing
            .map(|pair| format!("{} ↔ {}", pair.a.label, pair.b.label))
            .collect();
        // What is there when time is up was there in time: asking takes a while itself.
        if missing.is_empty() || asked >= LIMIT {
            return (asked, missing);
        }
    }
}

/// Waits until every pair that is relayed said why, both ways, or time is up; what was said. An agent tries again now and then
/// and says so, which does not take back what it said.
fn wait_for_reasons(places: &[Place], pairs: &[Pair<'_>]) -> Reasons {
    let start = Instant::now();
    let relayed = pairs.iter().filter(|pair| pair.expected != Expected::Direct);
    let both_ways: Vec<_> = relayed.flat_map(|pair| [(pair.a, pair.b), (pair.b, pair.a)]).collect();
    let mut reasons = Reasons::new();
    while start.elapsed() < REASON_LIMIT {
        let views = views(places);
        let mut open = 0;
        for (from, to) in &both_ways {
            let peer = seen(&views, from, to);
            let names = (from.label.clone(), to.label.clone());
            match peer.and_then(Peer::settled_reason) {
                Some(reason) => drop(reasons.insert(names, reason.to_owned())),
                None if peer.is_some_and(Peer::is_direct) || reasons.contains_key(&names) => {}
                None => open += 1,
            }
        }
        if open == 0 {
            break;
        }
    }
    reasons
}
