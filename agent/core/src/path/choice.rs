//! Which of the proven addresses is in use, and how often each is asked to prove itself again.

use std::time::{Duration, Instant};

use super::candidate::CandidatePath;
use super::keepalive::{Keepalive, is_local};
use super::{LeftForRelay, PathKind, PeerPaths, TRUST};
use crate::batch::Route;

/// Time between probes of the path in use while traffic flows.
const ACTIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between probes of an idle path in use that nothing on the way would forget: in the local network, and to the internet.
const LOCAL_INTERVAL: Duration = Duration::from_secs(300);
const OPEN_INTERVAL: Duration = Duration::from_secs(120);
/// Keepalives come by up to this part of their pause early.
const SPREAD: f64 = 0.2;
/// Time between probes of the path in use while it does not answer: three seconds decide, so a dozen are sent.
const REPEAT_INTERVAL: Duration = Duration::from_millis(250);
/// The same of its spares, of which some may be as dead as it is: the first that answers takes packets as well.
const REPEAT_SPARE_INTERVAL: Duration = Duration::from_millis(500);
/// Time between probes of proven paths that are not in use, kept as a fallback.
const SPARE_INTERVAL: Duration = Duration::from_secs(20);
/// The same through a relay, whose session is watched anyway.
const RELAY_SPARE_INTERVAL: Duration = Duration::from_secs(30);
/// Traffic counts as flowing this long after the last packet.
const ACTIVE_AFTER_PACKET: Duration = Duration::from_secs(5);
/// A path must be this many ms faster than the one in use to replace it: above the jitter of a home network, below what
/// a player feels.
const HYSTERESIS_MS: f64 = 3.0;
/// A direct path this many points worse than a relay is left for it, and come back to when it is no more than so many worse:
/// a relay costs somebody bandwidth, and a path must not flap.
const LEAVE_MARGIN: u8 = 20;
const RETURN_MARGIN: u8 = 10;
/// A path with a lower score is bad to play on.
const POOR: u8 = 60;
/// Probes of both that such a judgement needs.
const PROBES_TO_JUDGE: usize = 20;
/// A path in use that leaves a probe unanswered this long, or this many round trips, is in doubt.
const MIN_DOUBT: Duration = Duration::from_millis(500);
const DOUBT_ROUND_TRIPS: f64 = 3.0;

impl PeerPaths {
    pub(super) fn is_active(&self, now: Instant) -> bool {
        self.last_sent
            .is_some_and(|at| now.saturating_duration_since(at) < ACTIVE_AFTER_PACKET)
    }

    fn is_poor(&self) -> bool {
        let path = self.selected.and_then(|(route, _)| self.paths.get(&route));
        path.and_then(CandidatePath::quality)
            .is_some_and(|quality| quality.score < POOR)
    }

    /// When a proven path should be probed again.
    pub(super) fn next_keep_up(&self, path: &CandidatePath, now: Instant) -> Option<Instant> {
        if path.due().is_some() {
            return None;
        }
        if self.selected.is_none() {
            return self.next_attempt(path, now);
        }
        let is_doubtful = self.doubt_at().is_some_and(|at| at <= now);
        let Some(last) = path.last_answer else {
            // A relay stays a way to the peer for as long as both have a session with it.
            let asked = path.last_probe().filter(|_| path.kind == PathKind::Relay);
            let interval = match path.refusal_pause() {
                Some(pause) => pause,
                None if is_doubtful => REPEAT_SPARE_INTERVAL,
                None => RELAY_SPARE_INTERVAL,
            };
            return asked.map(|at| at + interval);
        };
        let in_use = self.selected.is_some_and(|(route, _)| route == path.route);
        let interval = match (in_use, self.is_active(now)) {
            (true, true) => ACTIVE_INTERVAL,
            (true, false) => self.idle_interval(path.route),
            (false, _) if is_doubtful => REPEAT_SPARE_INTERVAL,
            // Worth comparing when the direct path is bad to play on.
            (false, true) if path.kind == PathKind::Relay && self.is_poor() => ACTIVE_INTERVAL,
            (false, _) if path.kind == PathKind::Relay => RELAY_SPARE_INTERVAL,
            (false, _) if self.selected.is_some_and(|(route, _)| route.relay().is_some()) => ACTIVE_INTERVAL,
            (false, _) => SPARE_INTERVAL,
        };
        Some(match (path.asked_since(), path.last_probe()) {
            (Some(_), Some(asked)) if in_use => asked + REPEAT_INTERVAL,
            (Some(_), Some(asked)) => asked + interval,
            _ => last + interval,
        })
    }

    /// Time between probes of the path in use while it is idle.
    fn idle_interval(&self, route: Route) -> Duration {
        match route {
            Route::Relay { .. } => RELAY_SPARE_INTERVAL,
            // The peer shows with its next answer that it knows the new secret.
            Route::Direct(_) | Route::Side { .. } if is_kept_open(&self.keepalive, route) || !self.is_rekeyed() => {
                self.spread(self.keepalive.pause())
            }
            Route::Direct(address) | Route::Side { address, .. } if is_local(address) => LOCAL_INTERVAL,
            Route::Direct(_) | Route::Side { .. } => OPEN_INTERVAL,
        }
    }

    /// A little less than the pause, every time by another part. If the keepalives of both sides went out at the same moment every
    /// time, each would pass through the hole the other has just opened, and nobody would see that it had closed meanwhile.
    fn spread(&self, pause: Duration) -> Duration {
        let side = u64::from(u32::from_be_bytes(self.keys.send.tag));
        let part = (self.counter ^ side).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        pause.mul_f64(1.0 - SPREAD * part as f64 / 256.0)
    }

    pub(super) fn keep_up(&mut self, now: Instant) {
        let due: Vec<Route> = self
            .paths
            .values()
            .filter(|path| self.next_keep_up(path, now).is_some_and(|at| at <= now))
            .map(|path| path.route)
            .collect();
        for route in due {
            let keeps = self.selected.is_some_and(|(selected, _)| selected == route) && !self.is_active(now);
            if let Some(path) = self.paths.get_mut(&route) {
                if keeps && path.asked_since().is_none() && is_kept_open(&self.keepalive, path.route) {
                    self.keepalive.handle_sent();
                }
                path.probe_by(now);
            }
        }
    }

    /// When the path in use has been silent for too long: no answer to any probe for [`TRUST`]. Packets from the peer prove only
    /// one of the two directions.
    pub(super) fn silence_deadline(&self) -> Option<Instant> {
        Some(self.unanswered_since()? + TRUST)
    }

    /// When the path in use is slow enough to answer that packets had better take another one, too.
    pub(super) fn doubt_at(&self) -> Option<Instant> {
        let (route, _) = self.selected?;
        Some(self.unanswered_since()? + patience(self.paths.get(&route)?))
    }

    fn unanswered_since(&self) -> Option<Instant> {
        let (route, since) = self.selected?;
        let path = self.paths.get(&route)?;
        Some(path.asked_since()?.max(path.last_answer.unwrap_or(since)))
    }

    /// How good the direct path and the relay in use are, when a direct path that works is left for the relay.
    pub fn left_for_relay(&self) -> Option<LeftForRelay> {
        let relay = self.paths.get(&self.selected?.0)?;
        let answers = |path: &&CandidatePath| {
            let unanswered = path.asked_since().zip(path.last_probe());
            path.last_answer.is_some() && unanswered.is_none_or(|(since, last)| last < since + TRUST)
        };
        let direct = self.paths.values().filter(|path| path.kind != PathKind::Relay);
        let best = direct.filter(answers).filter_map(CandidatePath::quality);
        Some(LeftForRelay {
            direct: best.max_by_key(|quality| quality.score)?,
            relay: relay.quality().filter(|_| relay.kind == PathKind::Relay)?,
        })
    }

    /// Chooses the path to use among those that answered, or are expected to.
    pub(super) fn select(&mut self, now: Instant) {
        let silent = self.silence_deadline().is_some_and(|at| at <= now);
        let current = self
            .selected
            .filter(|(route, _)| !silent && self.paths.contains_key(route));
        let active = self.is_active(now);
        let gone = self
            .selected
            .filter(|_| silent)
            .and_then(|(route, _)| self.paths.get_mut(&route));
        if let Some(path) = gone {
            let doubted = std::mem::take(&mut self.doubted);
            if !active && !doubted && is_kept_open(&self.keepalive, path.route) {
                self.keepalive.handle_silence(now);
            }
            // An idle path that falls silent costs nobody anything, and is how the keepalive learns.
            if active {
                path.handle_left(now);
            }
            path.distrust(now);
        }
        let best = self.best(current.map(|(route, _)| route), None, now);
        if let (Some(Route::Relay { .. }), Some((route, _))) = (best, current)
            && let Some(direct) = self.paths.get_mut(&route).filter(|path| path.kind != PathKind::Relay)
        {
            direct.handle_left(now);
        }
        self.selected = match (best, current) {
            (Some(best), Some((route, since))) if best == route => Some((route, since)),
            (Some(best), _) => Some((best, now)),
            (None, _) => None,
        };
        let doubtful = self.doubt_at().is_some_and(|at| at <= now);
        self.also = best
            .filter(|_| doubtful)
            .and_then(|best| self.best(None, Some(best), now));
    }

    /// The best usable path, `current` unless another is clearly better. First among direct paths and among relays, then between
    /// the two: what is better within a kind and what is between kinds are different questions, and asked in one row they can
    /// lead round in a circle.
    fn best(&self, current: Option<Route>, except: Option<Route>, now: Instant) -> Option<Route> {
        let is_other = |path: &&CandidatePath| is_usable(path, now) && Some(path.route) != except;
        let has_steady = self.paths.values().filter(is_other).any(|path| !path.is_unsteady(now));
        let among = |relays: bool| {
            let fits = |path: &&CandidatePath| (path.kind == PathKind::Relay) == relays;
            let in_use = current.and_then(|route| self.paths.get(&route)).filter(fits);
            let paths = self.paths.values().filter(fits);
            let others = paths
                .filter(is_other)
                .filter(|path| !has_steady || !path.is_unsteady(now));
            in_use
                .into_iter()
                .chain(others)
                .reduce(|best, path| if replaces(path, best, current, now) { path } else { best })
        };
        let (Some(direct), Some(relay)) = (among(false), among(true)) else {
            return among(false).or(among(true)).map(|path| path.route);
        };
        let (incumbent, other) = match current {
            Some(Route::Relay { .. }) => (relay, direct),
            _ => (direct, relay),
        };
        // Nobody feels what an idle path loses, least of all while its keepalive finds out how long a mapping lasts.
        let is_felt = self.is_active(now) || incumbent.kind == PathKind::Relay || is_in_doubt(incumbent, now);
        let best = if is_felt && replaces(other, incumbent, current, now) {
            other
        } else {
            incumbent
        };
        Some(best.route)
    }
}

/// Whether a NAT or firewall would forget a path.
pub(super) fn is_kept_open(keepalive: &Keepalive, route: Route) -> bool {
    route.address().is_some_and(|address| keepalive.is_needed(address))
}

/// Whether packets may go there.
fn is_usable(path: &CandidatePath, now: Instant) -> bool {
    match path.kind {
        // A spare path is asked every SPARE_INTERVAL; a fresh answer is one from its latest round.
        PathKind::Direct(_) => path.rtt_ms().is_some() && path.answered_within(SPARE_INTERVAL + TRUST, now),
        PathKind::Relay => path.is_expected_to_work() || path.answered_within(RELAY_SPARE_INTERVAL + TRUST, now),
    }
}

/// Whether `path` is to be chosen rather than `best`, `current` being the one in use.
fn replaces(path: &CandidatePath, best: &CandidatePath, current: Option<Route>, now: Instant) -> bool {
    match (is_in_doubt(path, now), is_in_doubt(best, now)) {
        (true, false) => false,
        // The one in use is left when it has been silent for long enough.
        (false, true) if Some(best.route) != current => true,
        _ => is_better(path, best),
    }
}

/// How long an answer may take before a path is in doubt.
fn patience(path: &CandidatePath) -> Duration {
    let round_trips = Duration::from_secs_f64(path.rtt_ms().unwrap_or_default() * DOUBT_ROUND_TRIPS / 1000.0);
    MIN_DOUBT.max(round_trips).min(TRUST)
}

/// Whether it was asked and should have answered by now.
pub(super) fn is_in_doubt(path: &CandidatePath, now: Instant) -> bool {
    path.asked_since().is_some_and(|at| at + patience(path) <= now)
}

/// Whether `path` should replace `current`: clearly faster, or of a better kind and not slower. A relay replaces a direct path
/// only when that one is bad to play on, by numbers that rest on enough probes.
pub(super) fn is_better(path: &CandidatePath, current: &CandidatePath) -> bool {
    let (Some(rtt), Some(current_rtt)) = (path.rtt_ms(), current.rtt_ms()) else {
        return current.rtt_ms().is_none();
    };
    match (path.kind, current.kind) {
        (PathKind::Direct(_), PathKind::Relay) => !is_worse(path, current, RETURN_MARGIN),
        (PathKind::Relay, PathKind::Direct(_)) => is_worse(current, path, LEAVE_MARGIN),
        (kind, current_kind) => {
            let (rtt, current_rtt) = (rtt + path.load_ms, current_rtt + current.load_ms);
            rtt + HYSTERESIS_MS < current_rtt || (kind < current_kind && rtt <= current_rtt + HYSTERESIS_MS)
        }
    }
}

/// Whether a direct path's score is below a relay's by more than `margin`. Without enough probes of both it is not.
fn is_worse(direct: &CandidatePath, relay: &CandidatePath, margin: u8) -> bool {
    let score = |path: &CandidatePath| {
        let quality = path.quality().filter(|_| path.probes() >= PROBES_TO_JUDGE)?;
        Some(quality.score)
    };
    score(direct)
        .zip(score(relay))
        .is_some_and(|(direct, relay)| direct.saturating_add(margin) < relay)
}
