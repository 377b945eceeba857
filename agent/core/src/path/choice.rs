//! Which of the proven addresses is in use, and how often each is asked to prove itself again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::candidate::CandidatePath;
use super::{PeerPaths, TRUST};

/// Time between probes of the path in use while traffic flows.
const ACTIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between probes of the path in use while idle: under the shortest mapping lifetime seen in home routers (20 s; RFC
/// 4787 REQ-5 asks for two minutes).
const IDLE_INTERVAL: Duration = Duration::from_secs(15);
/// Time between probes of the path in use while it does not answer: three seconds decide, so a dozen are sent.
const REPEAT_INTERVAL: Duration = Duration::from_millis(250);
/// Time between probes of proven paths that are not in use, kept as a fallback.
const SPARE_INTERVAL: Duration = Duration::from_secs(20);
/// Traffic counts as flowing this long after the last packet.
const ACTIVE_AFTER_PACKET: Duration = Duration::from_secs(5);
/// A path must be this many ms faster than the one in use to replace it: above the jitter of a home network, below what
/// a player feels.
const HYSTERESIS_MS: f64 = 3.0;

impl PeerPaths {
    fn is_active(&self, now: Instant) -> bool {
        self.last_sent
            .is_some_and(|at| now.saturating_duration_since(at) < ACTIVE_AFTER_PACKET)
    }

    /// When a proven path should be probed again.
    pub(super) fn next_keep_up(&self, path: &CandidatePath, now: Instant) -> Option<Instant> {
        let last = path.last_answer?;
        if path.due().is_some() {
            return None;
        }
        let in_use = self.selected.is_some_and(|(address, _)| address == path.address);
        let interval = match (in_use, self.is_active(now)) {
            (true, true) => ACTIVE_INTERVAL,
            (true, false) => IDLE_INTERVAL,
            (false, _) => SPARE_INTERVAL,
        };
        Some(match (path.asked_since(), path.last_probe()) {
            (Some(_), Some(asked)) if in_use => asked + REPEAT_INTERVAL,
            (Some(_), Some(asked)) => asked + interval,
            _ => last + interval,
        })
    }

    pub(super) fn keep_up(&mut self, now: Instant) {
        let due: Vec<SocketAddr> = self
            .paths
            .values()
            .filter(|path| self.next_keep_up(path, now).is_some_and(|at| at <= now))
            .map(|path| path.address)
            .collect();
        for address in due {
            if let Some(path) = self.paths.get_mut(&address) {
                path.probe_by(now);
            }
        }
    }

    /// When the path in use has been silent for too long: no answer to a probe, and no packet, for [`TRUST`].
    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        let (address, since) = self.selected?;
        let path = self.paths.get(&address)?;
        let asked = path.asked_since()?;
        let heard = path.last_answer.max(self.last_received).unwrap_or(since);
        Some(asked.max(heard) + TRUST)
    }

    /// Chooses the path to use among those that answered.
    pub(super) fn select(&mut self, now: Instant) {
        let silent = self.silence_deadline().is_some_and(|at| at <= now);
        let current = self
            .selected
            .filter(|(address, _)| !silent && self.paths.contains_key(address));
        let gone = self
            .selected
            .filter(|_| silent)
            .and_then(|(address, _)| self.paths.get_mut(&address));
        if let Some(path) = gone {
            path.distrust(now);
        }
        let mut best = current.map(|(address, _)| address);
        for path in self.paths.values() {
            // A spare path is asked every SPARE_INTERVAL; a fresh answer is one from its latest round.
            let usable = path.rtt_ms.is_some() && path.answered_within(SPARE_INTERVAL + TRUST, now);
            if usable
                && best
                    .and_then(|address| self.paths.get(&address))
                    .is_none_or(|best| is_better(path, best))
            {
                best = Some(path.address);
            }
        }
        self.selected = match (best, current) {
            (Some(best), Some((address, since))) if best == address => Some((address, since)),
            (Some(best), _) => Some((best, now)),
            (None, _) => None,
        };
    }
}

/// Whether `path` should replace `current`: clearly faster, or of a better kind and not slower.
pub(super) fn is_better(path: &CandidatePath, current: &CandidatePath) -> bool {
    let (Some(rtt), Some(current_rtt)) = (path.rtt_ms, current.rtt_ms) else {
        return current.rtt_ms.is_none();
    };
    rtt + HYSTERESIS_MS < current_rtt || (path.kind < current.kind && rtt <= current_rtt + HYSTERESIS_MS)
}
