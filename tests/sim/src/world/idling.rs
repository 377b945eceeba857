//! A party in which nobody plays, for as long as one likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanrage_agent_core::path::KeepaliveCounts;

use super::{Happening, World};

/// Everybody has found everybody after this.
const FOUND: Duration = Duration::from_secs(10);

/// What keeping idle paths open was like.
#[derive(Debug)]
pub struct Idled {
    /// Of each PC, by the kind of its NAT: what it cost.
    pub kept: Vec<BTreeMap<&'static str, KeepaliveCounts>>,
    /// The longest time that somebody had no direct path to somebody.
    pub longest_gap: Duration,
}

impl World {
    /// Lets everybody idle for so long, without the faults of the scenario and what is looked at in its end.
    pub fn idle(mut self, time: Duration) -> Idled {
        self.queue
            .retain(|_, happening| !matches!(happening, Happening::Fault(_) | Happening::Finale(_)));
        let end = self.start + time;
        let mut gap: Option<Instant> = None;
        let mut longest_gap = Duration::ZERO;
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
            if self.is_all_direct() || self.now < self.start + FOUND {
                gap = None;
            } else {
                let since = *gap.get_or_insert(self.now);
                longest_gap = longest_gap.max(self.now - since);
            }
        }
        let agents = self.pcs.iter().filter_map(|pc| pc.agent.as_ref());
        Idled {
            kept: agents.map(|agent| agent.engine.keepalives().1).collect(),
            longest_gap,
        }
    }

    fn is_all_direct(&self) -> bool {
        let agents = self.pcs.iter().filter_map(|pc| pc.agent.as_ref());
        let mut paths = agents.flat_map(|agent| agent.links.values()).map(|link| link.path);
        paths.all(|path| path.is_some_and(|path| path.route.address().is_some()))
    }
}
