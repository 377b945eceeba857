//! What became of each pair, against what should have.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::{Cell, Expected, Pair, Place, Reasons, Via};
use crate::lab::agent::Peer;
use crate::lab::ping::Pinger;

const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What every agent says of its peers, by agent name.
pub(super) type Views = BTreeMap<String, Vec<Peer>>;

pub(super) fn views(places: &[Place]) -> Views {
    let ask = |place: &Place| Some((place.agent.name().to_owned(), place.agent.peers().ok()?));
    places.iter().filter_map(ask).collect()
}

pub(super) fn seen<'a>(views: &'a Views, from: &Place, to: &Place) -> Option<&'a Peer> {
    views
        .get(from.agent.name())?
        .iter()
        .find(|peer| peer.name == to.agent.name())
}

pub(super) fn judge(places: &[Place], pairs: &[Pair<'_>], reasons: &Reasons) -> Result<Vec<Cell>> {
    let views = views(places);
    let judge = |pair: &Pair<'_>| -> Result<Cell> {
        let mut cell = Cell {
            a: pair.a.label.clone(),
            b: pair.b.label.clone(),
            expected: pair.expected,
            found: "none".into(),
            reasons: Vec::new(),
            fault: None,
        };
        for (from, to) in [(pair.a, pair.b), (pair.b, pair.a)] {
            let said = reasons.get(&(from.label.clone(), to.label.clone()));
            cell.reasons
                .extend(said.map(|said| said.replace(to.agent.name(), to.side_less_label())));
            let fault = match seen(&views, from, to) {
                None => Some(format!("{} does not know {}", from.label, to.label)),
                Some(peer) => match pinged(from, peer)? {
                    Some(round_trip) => {
                        cell.found = found(peer, round_trip);
                        judge_path(pair, to, peer, said)
                    }
                    None => Some(format!("no ping comes through; {}", story(peer))),
                },
            };
            cell.fault = cell.fault.or(fault);
        }
        Ok(cell)
    };
    pairs.iter().map(judge).collect()
}

fn pinged(from: &Place, peer: &Peer) -> Result<Option<Duration>> {
    let mut pinger = Pinger::new(&from.host.netns, peer.virtual_ip)?;
    if pinger.first_answer(Duration::from_millis(200), ANSWER_LIMIT).is_err() {
        return Ok(None);
    }
    // The first one may have waited for a handshake.
    pinger.ping(ANSWER_LIMIT)
}

fn found(peer: &Peer, round_trip: Duration) -> String {
    let kind = if peer.is_relayed() { "relayed" } else { &peer.path.kind };
    let ms = round_trip.as_secs_f64() * 1e3;
    format!("{kind} {ms:.*} ms", usize::from(ms < 10.0))
}

/// What is wrong with a way on which pings come through.
fn judge_path(pair: &Pair<'_>, to: &Place, peer: &Peer, said: Option<&String>) -> Option<String> {
    if peer.is_relayed() {
        return match (pair.expected, said) {
            (Expected::Direct, _) => Some(format!("not direct; {}", story(peer))),
            (_, None) => Some(format!("does not say why it is relayed; {}", story(peer))),
            (_, Some(said)) => (!said.contains(pair.words)).then(|| format!("gives the wrong reason: {said}")),
        };
    }
    if !peer.is_direct() {
        return Some(format!("neither direct nor relayed; {}", story(peer)));
    }
    if pair.expected == Expected::Relayed {
        return Some(format!("direct, which this lab should not allow; {}", story(peer)));
    }
    let address = peer.path.address.map(|address| address.ip());
    match pair.via {
        Via::Lan if address != Some(to.host.address.into()) => Some(format!("not by the LAN but by {address:?}")),
        Via::Ipv6 if address != to.host.address6.map(Into::into) => Some(format!("not by IPv6 but by {address:?}")),
        _ => None,
    }
}

/// What the agent says of the way to a peer.
fn story(peer: &Peer) -> String {
    let reason = peer.reason.as_deref().unwrap_or("no reason given");
    format!("path {}, {reason}", peer.path.kind)
}
