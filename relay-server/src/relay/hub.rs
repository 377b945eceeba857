//! What all connections of a relay share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lanrage_relay_core::relay::{Delivery, Ended, Refusal, Relay, Session, SessionId, Verdict, Why};
use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::wire::relay::{FromRelay, Hello, ToRelay};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::handshakes::{Handshakes, Outcome};
use super::port::Port;

/// A stranger has this long for its handshake and its hello.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How often sessions are looked through for tokens that ended.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// The rules, the ports, and what tells one of the other.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) relay: Relay<Arc<Port>>,
    pub(super) gate: Arc<Gate>,
    pub(super) handshakes: Handshakes,
    /// Something waits for the egress.
    pub(super) egress: Notify,
    pub(super) draining: CancellationToken,
    ports: Mutex<BTreeMap<SessionId, Arc<Port>>>,
    /// A session ended.
    left: Notify,
}

/// A session that leaves when this is dropped, however its task ends.
pub(super) struct Seated {
    hub: Arc<Hub>,
    pub(super) session: Session<Arc<Port>>,
    pub(super) port: Arc<Port>,
    /// What is logged about the session is logged in it.
    pub(super) span: tracing::Span,
}

impl Hub {
    pub(super) fn new(relay: Relay<Arc<Port>>) -> Self {
        Self {
            relay,
            gate: Arc::new(Gate::new(Instant::now())),
            handshakes: Handshakes::default(),
            egress: Notify::new(),
            draining: CancellationToken::new(),
            ports: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// A hello came on a port. Its welcome is the first the port says.
    pub(super) fn admit(
        self: &Arc<Self>,
        hello: &Hello,
        exported: &[u8; 32],
        port: &Arc<Port>,
    ) -> Result<Seated, Refusal> {
        let admitted = self
            .relay
            .admit(hello, exported, Arc::clone(port), Instant::now())
            .inspect_err(|refusal| self.handshakes.count(Outcome::Refused(*refusal)))?;
        self.handshakes.count(Outcome::Welcomed);
        port.seat(admitted.session.clone());
        port.say(FromRelay::Welcome {
            expires_at: admitted.expires_at,
        });
        self.ports.lock().insert(admitted.session.id(), Arc::clone(port));
        if let Some(older) = admitted.replaced {
            older.end(ApiError::new(
                ErrorCode::Superseded,
                "this member has connected to the relay anew; if that was not this PC, its keys are in use twice",
            ));
        }
        let (party, member) = admitted.session.member();
        // At this level it is there whichever lines are logged.
        let span = tracing::error_span!("session", session = admitted.session.id().0, %party, %member);
        span.in_scope(|| tracing::debug!("a member has connected"));
        Ok(Seated {
            hub: Arc::clone(self),
            session: admitted.session,
            port: Arc::clone(port),
            span,
        })
    }

    /// A control message came. Gives the answer; a refusal ends the session.
    pub(super) fn handle_control(&self, message: &ToRelay, exported: &[u8; 32], seated: &Seated) {
        let ToRelay::Renew { hello } = message;
        match self.relay.renew(&seated.session, hello, exported, Instant::now()) {
            Ok(expires_at) => seated.port.say(FromRelay::Welcome { expires_at }),
            Err(refusal) => seated.port.end(refusal.to_api_error()),
        }
    }

    /// A frame came from a member.
    pub(super) fn handle_frame(&self, session: &Session<Arc<Port>>, from: &Port, frame: Bytes) {
        let now = Instant::now();
        match session.handle_frame(frame, now) {
            Verdict::Pass(Delivery { port, frame }) => port.give(frame, now),
            Verdict::Wait { egress: true } => self.egress.notify_one(),
            Verdict::Wait { egress: false } | Verdict::Drop { notice: None, .. } => {}
            Verdict::Drop {
                notice: Some(notice),
                reason,
            } => {
                tracing::trace!(reason = reason.label(), "a frame was dropped");
                from.notice(notice);
            }
        }
    }

    /// Sessions that are over, and why.
    pub(super) fn end(&self, ended: Vec<Ended<Arc<Port>>>) {
        for Ended { port, why } in ended {
            port.end(match why {
                Why::Revoked => ApiError::new(
                    ErrorCode::NotAMember,
                    "this PC was removed from the party; ask the host for a new invite",
                ),
                Why::Expired => Refusal::Expired.to_api_error(),
            });
        }
    }

    /// Every member's port.
    pub(super) fn ports(&self) -> Vec<Arc<Port>> {
        self.ports.lock().values().cloned().collect()
    }

    /// Resolves when nobody is connected.
    pub(super) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.ports.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Lets go what waits for the egress, as long as the relay runs.
    pub(super) async fn run_egress(&self) {
        let mut out = Vec::new();
        loop {
            match self.relay.poll_egress() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => self.egress.notified().await,
            }
            let now = Instant::now();
            self.relay.handle_egress(now, &mut out);
            for Delivery { port, frame } in out.drain(..) {
                port.give(frame, now);
            }
        }
    }

    /// Ends sessions whose tokens ended, as long as the relay runs.
    pub(super) async fn run_expiry(&self) {
        let mut check = tokio::time::interval(EXPIRY_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            self.end(self.relay.handle_timeout(Instant::now()));
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.hub.relay.leave(&self.session);
        self.port.hung_up();
        self.hub.ports.lock().remove(&self.session.id());
        self.hub.left.notify_waiters();
        self.span.in_scope(|| tracing::debug!("a member has disconnected"));
    }
}
