//! `ping`: echo requests through the tunnel, and who waits for their answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lanrage_agent_core::engine::PeerView;
use lanrage_agent_core::ip::echo;
use lanrage_shared::api::party::Member;
use tokio::sync::oneshot;

use super::dataplane::DataPlane;
use super::party::PartySession;
use super::{report, whom};
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
    pub(super) fn handle_answer(&mut self, sequence: u16, at: Instant, session: Option<&PartySession>) {
        if let Some(ping) = self.under_way.remove(&sequence) {
            ping.end(Some(at), session);
        }
    }

    /// Tells those whose time is over why there is no answer.
    pub(super) fn end_late(&mut self, session: Option<&PartySession>, now: Instant) {
        let late = self.under_way.extract_if(|_, ping| ping.deadline <= now);
        for (_, ping) in late {
            ping.end(None, session);
        }
    }
}

/// The peer that is called or has the address `target`.
fn find<'a>(target: &str, session: Option<&'a PartySession>) -> Result<(&'a PartySession, PeerView), Failure> {
    let session =
        session.ok_or_else(|| Failure::new("no_party", "this PC is in no party, so there is nobody to ping"))?;
    let peers: Vec<PeerView> = session.engine.peers().collect();
    let members: Vec<&Member> = peers.iter().map(|view| &view.member).collect();
    let chosen = whom::choose(target, &members)?.id;
    let view = peers.iter().find(|view| view.member.id == chosen).cloned();
    let view = view.ok_or_else(|| Failure::new("no_such_peer", "this peer has just left"))?;
    Ok((session, view))
}

impl Ping {
    /// Reports, with the way to the peer as it is by now.
    fn end(mut self, answered: Option<Instant>, session: Option<&PartySession>) {
        let now = Instant::now();
        let mut views = session.into_iter().flat_map(|session| session.engine.peers());
        if let Some(view) = views.find(|view| view.member.id == self.view.member.id) {
            self.view = view;
        }
        let name = &self.view.member.name;
        let reason = answered.is_none().then(|| match &self.view.reason {
            Some(reason) if self.view.path.is_none() => reason.clone(),
            _ => format!("no answer came back from {name}: its firewall may drop pings, or the path has just broken; the next seconds show which"),
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
