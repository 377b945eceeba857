//! What is asked, and how often, while nothing leads to a peer. Whatever broke, lines come back without a word: so the ways there
//! were are asked for as long as there is none.

use std::time::{Duration, Instant};

use super::candidate::CandidatePath;
use super::{PathKind, PeerPaths};

/// Time between two probes of one route: a way that works again is in use about a second later.
const SEEK_INTERVAL: Duration = Duration::from_secs(1);
/// Of a peer with many addresses, one is asked this often: all of its [`super::MAX_CANDIDATES`] within four seconds.
const SEEK_SPACING: Duration = Duration::from_millis(250);
/// Time between two probes of each address of a peer that the control server says is away. Its word may be wrong: it only means
/// that the peer does not reach the server.
const AWAY_INTERVAL: Duration = Duration::from_secs(12);

impl PeerPaths {
    /// The control server says whether the peer is away; without the server nobody is.
    pub fn handle_away(&mut self, away: bool) {
        self.away = away;
    }

    /// When a route should be asked again while no path is in use.
    pub(super) fn next_attempt(&self, path: &CandidatePath, now: Instant) -> Option<Instant> {
        let interval = match path.kind {
            PathKind::Relay => path.refusal_pause().unwrap_or(SEEK_INTERVAL),
            PathKind::Direct(_) if !path.is_worth_seeking(now) => return None,
            PathKind::Direct(_) if self.away => AWAY_INTERVAL,
            PathKind::Direct(_) => {
                let is_sought = |path: &&CandidatePath| path.kind != PathKind::Relay && path.is_worth_seeking(now);
                let sought = self.paths.values().filter(is_sought).count();
                SEEK_INTERVAL.max(SEEK_SPACING * u32::try_from(sought).unwrap_or(u32::MAX))
            }
        };
        Some(path.last_probe()? + interval)
    }
}
