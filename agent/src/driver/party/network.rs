//! Another network under this PC, or a sleep behind it: what stood before is in doubt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_agent_core::dataplane::PeerLink;
use lanrage_agent_core::sleep::Sleep;

use super::PartySession;
use crate::driver::dataplane::DataPlane;

/// A session older than this is renewed by WireGuard itself with the next packet (REJECT_AFTER_TIME).
const SESSION_LIFETIME: Duration = Duration::from_secs(180);
/// Paths found within this time after a sleep are those of before it, found again.
const WAKING: Duration = Duration::from_secs(10);

impl PartySession {
    /// Takes this PC's interface addresses.
    pub fn handle_interfaces(&mut self, addresses: Vec<SocketAddr>, now: Instant) {
        if self.engine.interfaces().iter().any(|known| !addresses.contains(known)) {
            self.handle_connections_doubted();
        }
        self.engine.handle_interfaces(addresses, now);
    }

    /// This PC is on another network although its addresses are the same.
    pub fn handle_network_change(&mut self, now: Instant) {
        tracing::info!("this PC is on another network");
        self.handle_connections_doubted();
        self.engine.handle_network_change(now);
    }

    /// This PC slept.
    pub fn handle_sleep(&mut self, sleep: Sleep, data_plane: &DataPlane, now: Instant) {
        self.engine.handle_uncounted(sleep.uncounted, now);
        if !sleep.is_long {
            return;
        }
        tracing::info!(uncounted = ?sleep.uncounted, "this PC was away");
        self.woke = Some((now, sleep.uncounted));
        let is_over = |link: &&Arc<PeerLink>| link.path().is_some() && !self.has_session(link, now);
        for link in self.links.values().filter(is_over) {
            data_plane.start_handshake(link);
        }
        self.handle_connections_doubted();
        self.engine.handle_network_change(now);
    }

    fn handle_connections_doubted(&self) {
        self.stream.handle_network_change();
        self.relays.handle_network_change();
    }

    /// Whether both sides still have the WireGuard session: the peer's ages while this PC sleeps.
    pub(super) fn has_session(&self, link: &PeerLink, now: Instant) -> bool {
        let Some(age) = link.last_handshake() else { return false };
        let slept = self.woke.filter(|(woke, _)| age > now.saturating_duration_since(*woke));
        age + slept.map_or(Duration::ZERO, |(_, slept)| slept) < SESSION_LIFETIME
    }

    /// Whether this PC has just woken up: then only this side knows that sessions are over.
    pub(super) fn is_waking(&self) -> bool {
        self.woke.is_some_and(|(woke, _)| woke.elapsed() < WAKING)
    }
}
