//! `ping`: echo requests through the tunnel, and who waits for their answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lanrage_agent_core::engine::PeerView;
use tokio::sync::oneshot;

use super::dataplane::DataPlane;
use super::party::PartySession;
use super::{echo, report};
use crate::api::{Failure, PingReport};

/// Echo requests under way at once.
const MAX_PINGS: usize = 64;

/// Echo requests under way.
#[derive(Default)]
pub(super) struct Pings {
    under_way: HashMap<u16, Ping>,
    /// Sequence number of the latest.
    latest: u16,
}

type Reply = oneshot::Sender<Result<PingReport, Failure>>;

struct Ping {
    sent: Instant,
    deadline: Instant,
    view: PeerView,
    target: IpAddr,
    reply: Reply,
}

impl Pings {
    /// Sends an echo request to the peer of this name or address; `reply` hears how it ended.
    pub(super) fn start(
        &mut self,
        target: &str,
        timeout: Duration,
        reply: Reply,
        session: Option<&PartySession>,
        data_plane: &DataPlane,
    ) {
        // Whoever asked may be gone by now; then nobody misses the answer.
        let (session, view) = match find(target, session) {
            Ok(_) if self.under_way.len() >= MAX_PINGS => {
                let busy = Failure::new("busy", "too many pings are under way; try again in a moment");
                let _ = reply.send(Err(busy));
                return;
            }
            Ok(found) => found,
            Err(failure) => {
                let _ = reply.send(Err(failure));
                return;
            }
        };
        let target = target.parse().unwrap_or(IpAddr::V4(view.member.virtual_ip));
        let net = &session.cache.party.net;
        let from: IpAddr = if target.is_ipv4() {
            net.member_v4(session.cache.me).into()
        } else {
            net.member_v6(session.cache.me).into()
        };
        self.latest = self.latest.wrapping_add(1);
        let now = Instant::now();
        let id = data_plane.echo_id.load(Ordering::Relaxed);
        if let Some(packet) = echo::request(from, target, id, self.latest) {
            data_plane.inject(packet);
        }
        let ping = Ping {
            sent: now,
            deadline: now + timeout,
            view,
            target,
            reply,
        };
        self.under_way.insert(self.latest, ping);
    }

    /// An echo reply arrived.
    pub(super) fn handle_answer(&mut self, sequence: u16, at: Instant) {
        if let Some(ping) = self.under_way.remove(&sequence) {
            ping.end(Some(at));
        }
    }

    /// Tells those whose time is over why there is no answer, as it looks by now.
    pub(super) fn end_late(&mut self, session: Option<&PartySession>, now: Instant) {
        let late = self.under_way.extract_if(|_, ping| ping.deadline <= now);
        for (_, mut ping) in late {
            let mut views = session.into_iter().flat_map(|session| session.engine.peers());
            if let Some(view) = views.find(|view| view.member.id == ping.view.member.id) {
                ping.view = view;
            }
            ping.end(None);
        }
    }
}

/// The peer that is called or has the address `target`.
fn find<'a>(target: &str, session: Option<&'a PartySession>) -> Result<(&'a PartySession, PeerView), Failure> {
    let session =
        session.ok_or_else(|| Failure::new("no_party", "this PC is in no party, so there is nobody to ping"))?;
    let peers: Vec<PeerView> = session.engine.peers().collect();
    let view = choose(target, &peers)?.ok_or_else(|| {
        let names: Vec<String> = peers.iter().map(|view| view.member.name.to_string()).collect();
        let known = if names.is_empty() {
            "nobody yet".to_owned()
        } else {
            names.join(", ")
        };
        Failure::new(
            "no_such_peer",
            format!("no peer is called or has the address {target:?}; the party has {known}"),
        )
    })?;
    Ok((session, view.clone()))
}

/// The one peer with this address or name: as it is written if anybody is called exactly that, else whatever the case.
fn choose<'a>(target: &str, peers: &'a [PeerView]) -> Result<Option<&'a PeerView>, Failure> {
    if let Ok(ip) = target.parse::<IpAddr>() {
        let has_it = |view: &&PeerView| ip == view.member.virtual_ip || ip == view.member.virtual_ip6;
        return Ok(peers.iter().find(has_it));
    }
    let target = target.trim();
    let called = |is_called: &dyn Fn(&str) -> bool| -> Vec<&PeerView> {
        let found = peers.iter().filter(|view| is_called(view.member.name.as_str()));
        found.collect()
    };
    let mut found = called(&|name| name == target);
    if found.is_empty() {
        found = called(&|name| name.to_lowercase() == target.to_lowercase());
    }
    if found.len() > 1 {
        let addresses: Vec<String> = found.iter().map(|view| view.member.virtual_ip.to_string()).collect();
        return Err(Failure::new(
            "ambiguous_peer",
            format!(
                "{} members are called {target:?}; use the address instead: {}",
                found.len(),
                addresses.join(", ")
            ),
        ));
    }
    Ok(found.first().copied())
}

impl Ping {
    fn end(self, answered: Option<Instant>) {
        let now = Instant::now();
        let name = &self.view.member.name;
        let reason = answered.is_none().then(|| match &self.view.reason {
            Some(reason) => reason.clone(),
            None => format!("the path to {name} works, but its PC does not answer pings: its firewall may drop them"),
        });
        let rtt_ms = answered.map(|at| at.saturating_duration_since(self.sent).as_secs_f64() * 1000.0);
        let report = PingReport {
            peer: name.clone(),
            virtual_ip: self.target,
            rtt_ms: rtt_ms.map(|ms| (ms * 100.0).round() / 100.0),
            path: report::path(&self.view, now),
            reason,
        };
        let _ = self.reply.send(Ok(report));
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::party::Member;
    use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId};

    use super::*;

    fn peer(number: u16, name: &str) -> PeerView {
        let identity_key = IdentityKey([0; 32]);
        let member = Member {
            id: MemberId(number),
            device: DeviceId::of(&identity_key),
            identity_key,
            device_key: DeviceKey([0; 32]),
            name: name.parse().unwrap(),
            virtual_ip: [10, 64, 0, u8::try_from(number).unwrap()].into(),
            virtual_ip6: "fd00::1".parse().unwrap(),
            joined_at_ms: 0,
            online: true,
            last_seen_ms: 0,
            presence: None,
        };
        PeerView {
            member,
            online: true,
            path: None,
            relay: None,
            reason: None,
        }
    }

    #[test]
    fn a_name_means_one_peer_or_an_error() {
        let peers = [
            peer(1, "ben"),
            peer(2, "Ben"),
            peer(3, "Cara"),
            peer(4, "Cara"),
            peer(5, "Dan"),
        ];
        let number = |target: &str| choose(target, &peers).map(|found| found.map(|view| view.member.id.0));
        assert_eq!(number("Ben").unwrap(), Some(2));
        assert_eq!(number("ben").unwrap(), Some(1));
        assert_eq!(number(" DAN ").unwrap(), Some(5));
        assert_eq!(number("10.64.0.4").unwrap(), Some(4));
        assert_eq!(number("Eve").unwrap(), None);
        assert!(number("BEN").unwrap_err().message.contains("10.64.0.1, 10.64.0.2"));
        assert!(number("Cara").unwrap_err().message.contains("10.64.0.3, 10.64.0.4"));
    }
}
