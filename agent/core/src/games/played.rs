//! What runs now, what ran before, and when to look again.
//!
//! A look that finds another game than the last one is followed by one soon; while nothing changes the pause grows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_shared::api::game::{GameId, GameName, Playing, Wording};

use super::detect::Detected;

/// Pause after a look that found something else than the one before: a launcher's game follows in seconds.
const SOON: Duration = Duration::from_secs(2);
/// Longest pause: a player who asks what runs has just started it.
const QUIET: Duration = Duration::from_secs(15);
/// Games that ended are kept this long in number: an evening's.
pub const HISTORY: usize = 50;

/// A game that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub id: GameId,
    pub name: GameName,
    /// As sure as it ever was.
    pub wording: Wording,
    pub started: Instant,
    pub ended: Instant,
}

/// A game that runs.
#[derive(Debug, Clone)]
pub struct Current {
    pub found: Detected,
    pub since: Instant,
    surest: Wording,
}

/// What runs now and what ran before.
#[derive(Debug, Default)]
pub struct Played {
    current: BTreeMap<GameId, Current>,
    past: VecDeque<Past>,
    pause: Option<Duration>,
    next: Option<Instant>,
}

impl Played {
    /// Takes what a look found. Says whether other games run than before, or are surer or less sure.
    pub fn handle_look(&mut self, found: Vec<Detected>, now: Instant) -> bool {
        let before: Vec<(GameId, Wording)> = self.told().collect();
        let mut current = BTreeMap::new();
        for found in found {
            let id = found.game.id.clone();
            let known = self.current.remove(&id);
            let since = known.as_ref().map_or(now, |known| known.since);
            let surest = known.map_or(found.wording, |known| known.surest.max(found.wording));
            current.insert(id, Current { found, since, surest });
        }
        for (id, ended) in std::mem::replace(&mut self.current, current) {
            self.past.push_front(Past {
                id,
                name: ended.found.game.name.clone(),
                wording: ended.surest,
                started: ended.since,
                ended: now,
            });
        }
        self.past.truncate(HISTORY);
        let changed = !self.told().eq(before);
        let longer = self.pause.map_or(SOON, |pause| (pause * 3 / 2).min(QUIET));
        let pause = if changed { SOON } else { longer };
        self.pause = Some(pause);
        self.next = Some(now + pause);
        changed
    }

    /// When to look next; none: now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The profiles are others: looks at once.
    pub fn handle_profiles(&mut self) {
        self.next = None;
    }

    /// What runs, surest first.
    pub fn current(&self) -> Vec<Current> {
        let mut current: Vec<Current> = self.current.values().cloned().collect();
        current.sort_by(|a, b| b.found.confidence.total_cmp(&a.found.confidence));
        current
    }

    /// What ran, the latest first.
    pub fn past(&self) -> impl Iterator<Item = &Past> {
        self.past.iter()
    }

    fn told(&self) -> impl Iterator<Item = (GameId, Wording)> {
        self.current
            .iter()
            .map(|(id, current)| (id.clone(), current.found.wording))
    }
}

/// The games that count as played: what only may be one changes nothing for anybody.
pub fn playing(current: &[Current]) -> Vec<Arc<super::GameProfile>> {
    let counts = current
        .iter()
        .filter(|current| current.found.wording >= Wording::Probably);
    counts.map(|current| Arc::clone(&current.found.game)).collect()
}

/// What the party is told of the surest of them.
pub fn told(current: &[Current]) -> Option<Playing> {
    let surest = &current
        .first()
        .filter(|surest| surest.found.wording >= Wording::Probably)?
        .found;
    Some(Playing {
        id: surest.game.id.clone(),
        name: surest.game.name.clone(),
        wording: surest.wording,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::games::{Detector, GameLibrary, Process, parse};

    fn found(names: &[&str]) -> Vec<Detected> {
        let profile = |id: &str| {
            let text = format!(
                "name = \"{id}\"\nlatency_class = \"fast\"\nsources = [\"x\"]\n[processes]\nlinux = [\"{id}\"]\n"
            );
            Arc::new(parse(&format!("{id}.toml"), &text).unwrap())
        };
        let library = GameLibrary::of(["chessmaster", "tetrisgame"].map(profile));
        let process = |(pid, name): (usize, &&str)| Process {
            pid: pid as u32,
            name: (*name).to_owned(),
            ..Process::default()
        };
        let processes: Vec<Process> = names.iter().enumerate().map(process).collect();
        Detector::new(&library).detect(&processes)
    }

    #[test]
    fn what_starts_and_ends_is_kept_with_its_times() {
        let (mut played, start) = (Played::default(), Instant::now());
        let later = start + Duration::from_secs(60);
        assert!(played.handle_look(found(&["chessmaster"]), start));
        assert!(!played.handle_look(found(&["chessmaster"]), start + SOON));
        assert_eq!(played.current()[0].since, start);
        assert!(played.handle_look(found(&["tetrisgame"]), later));
        let past: Vec<&Past> = played.past().collect();
        assert_eq!(past.len(), 1);
        assert_eq!(
            (past[0].id.as_str(), past[0].started, past[0].ended),
            ("chessmaster", start, later)
        );
        assert_eq!(told(&played.current()).unwrap().id.as_str(), "tetrisgame");
    }

    #[test]
    fn looks_become_rarer_while_nothing_changes() {
        let (mut played, mut now) = (Played::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            played.handle_look(Vec::new(), now);
            let next = played.poll_timeout().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert_eq!((pauses[0], pauses[9]), (SOON, QUIET));
        assert!(pauses.is_sorted());
        played.handle_look(found(&["chessmaster"]), now);
        assert_eq!(played.poll_timeout(), Some(now + SOON));
    }

    #[test]
    fn history_is_bounded() {
        let (mut played, now) = (Played::default(), Instant::now());
        for _ in 0..HISTORY + 5 {
            played.handle_look(found(&["chessmaster"]), now);
            played.handle_look(Vec::new(), now);
        }
        assert_eq!(played.past().count(), HISTORY);
    }
}
