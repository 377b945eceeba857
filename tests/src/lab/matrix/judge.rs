//! What became of each pair, against what should have.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::{Cell, Pair, Place, Reasons, Via};
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
                Some(peer) => {
                    let said = reasons.get(&(from.label.clone(), to.label.clone()));
                    judge_pathless(pair, peer, said)
                }
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

fn judge_pathless(pair: &Pair<'_>, peer: &Peer, said: Option<&String>) -> (String, Option<String>) {
    let now = peer.reason.as_deref().unwrap_or("no reason given");
    match said {
        _ if pair.direct => (format!("{}: {now}", peer.path.kind), Some(format!("not direct: {now}"))),
        Some(reason) => (reason.clone(), None),
        None if peer.path.kind == "relay" => ("relay".into(), None),
        None => (now.to_owned(), Some("does not say why".into())),
    }
}
