//! Which games run, how sure that is, and why.
//!
//! A process is looked up by each of its names ([`index`]): as a profile writes it, without what builds and launchers add, by
//! its first word, and by likeness. What it listens on, its windows' titles and the directories it lies in are weighed with that
//! ([`evidence`]); ports alone say nothing, because everybody's are somebody else's too. A game that several processes speak for
//! is told once, by the one that is surest.

mod evidence;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lanrage_shared::api::game::{GameId, Wording};

pub use self::evidence::{Evidence, NameMatch};
use self::evidence::{PERHAPS, Weighed, wording};
use self::index::Index;
use super::library::GameLibrary;
use super::names::{plain, squeezed};
use super::process::Process;
use super::profile::{GameProfile, PortRange};

/// A title this much shorter than what a window says is still the game's, with more behind it.
const SHORTEST_TITLE: usize = 4;
/// Programs that show other programs' names in their titles.
const READERS: &[&str] = &[
    "brave",
    "chrome",
    "chromium",
    "code",
    "codium",
    "discord",
    "evince",
    "explorer",
    "firefox",
    "firefoxesr",
    "kate",
    "konsole",
    "libreoffice",
    "msedge",
    "mpv",
    "nautilus",
    "dolphin",
    "notepad",
    "obs",
    "opera",
    "slack",
    "soffice",
    "steam",
    "steamwebhelper",
    "teams",
    "telegram",
    "thunderbird",
    "vivaldi",
    "vlc",
    "gnometerminalserver",
    "xterm",
    "alacritty",
    "kitty",
    "cmd",
    "windowsterminal",
    "gedit",
    "spotify",
];

/// A game that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    pub game: Arc<GameProfile>,
    pub pid: u32,
    /// The process as the system names it.
    pub process: String,
    /// From 0 to 1.
    pub confidence: f64,
    pub wording: Wording,
    pub evidence: Vec<Evidence>,
}

/// Finds the games of a library among processes.
#[derive(Debug)]
pub struct Detector {
    index: Index,
}

impl Detector {
    /// For the games in `library`.
    pub fn new(library: &GameLibrary) -> Self {
        Self {
            index: Index::new(library),
        }
    }

    /// Processes that may be a game: only of these the ports have to be known.
    pub fn suspects(&self, processes: &[Process]) -> BTreeSet<u32> {
        let may_be = |process: &&Process| !self.weigh(process).is_empty();
        processes.iter().filter(may_be).map(|process| process.pid).collect()
    }

    /// The games that run, surest first.
    pub fn detect(&self, processes: &[Process]) -> Vec<Detected> {
        let mut best: BTreeMap<&GameId, Detected> = BTreeMap::new();
        for process in processes {
            for (game, weighed) in self.weigh(process) {
                let game = self.index.game(game);
                let found = weighed.confidence();
                let surer = best.get(&game.id).is_none_or(|known| known.confidence < found);
                if found >= PERHAPS && surer {
                    let detected = Detected {
                        game: Arc::clone(game),
                        pid: process.pid,
                        process: process.name.clone(),
                        confidence: found,
                        wording: wording(found),
                        evidence: weighed.evidence,
                    };
                    best.insert(&game.id, detected);
                }
            }
        }
        let mut found: Vec<Detected> = without_doubles(best.into_values().collect());
        found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.game.id.cmp(&b.game.id)));
        found
    }

    /// What speaks for each game that this process may be.
    fn weigh(&self, process: &Process) -> BTreeMap<usize, Weighed> {
        let mut found: BTreeMap<usize, Weighed> = BTreeMap::new();
        for name in process.names() {
            for (game, how) in self.index.find(&name) {
                let weighed = found.entry(game).or_default();
                weighed.add(Evidence::Name {
                    name: name.name().to_owned(),
                    how,
                    is_wrapped: name.is_wrapped,
                });
            }
            for directory in name.directories() {
                for game in self.index.by_directory(&squeezed(directory)) {
                    let weighed = found.entry(game).or_default();
                    weighed.add(Evidence::Directory(directory.to_owned()));
                }
            }
        }
        if let Some(hash) = &process.hash {
            for game in self.index.by_hash(hash) {
                found.entry(game).or_default().add(Evidence::Hash);
            }
        }
        self.weigh_titles(process, &mut found);
        self.weigh_ports(process, &mut found);
        found
    }

    fn weigh_ports(&self, process: &Process, found: &mut BTreeMap<usize, Weighed>) {
        for (&game, weighed) in found {
            let ports = &self.index.game(game).ports;
            let discovery = &self.index.game(game).discovery;
            let udp = || ports.udp.iter().chain(discovery.iter().map(|way| &way.ports));
            if let Some(port) = process.udp.iter().find(|port| contains(udp(), **port)) {
                weighed.add(Evidence::Port { udp: true, port: *port });
            } else if let Some(port) = process.tcp.iter().find(|port| contains(ports.tcp.iter(), **port)) {
                weighed.add(Evidence::Port {
                    udp: false,
                    port: *port,
                });
            }
        }
    }

    fn weigh_titles(&self, process: &Process, found: &mut BTreeMap<usize, Weighed>) {
        let reads = |name: &str| READERS.contains(&plain(name).as_str());
        if process.titles.is_empty() || reads(&process.name) || process.exe.as_deref().is_some_and(reads) {
            return;
        }
        for title in &process.titles {
            let shown = title.trim().to_lowercase();
            for (game, known) in self.index.titles() {
                if shown == *known {
                    found.entry(game).or_default().add(Evidence::Title {
                        title: title.clone(),
                        is_whole: true,
                    });
                } else if known.len() >= SHORTEST_TITLE && begins_with(&shown, known) {
                    found.entry(game).or_default().add(Evidence::Title {
                        title: title.clone(),
                        is_whole: false,
                    });
                }
            }
        }
    }
}

fn contains<'a>(mut ranges: impl Iterator<Item = &'a PortRange>, port: u16) -> bool {
    ranges.any(|range| range.contains(&port))
}

/// Whether a text begins with whole words.
fn begins_with(text: &str, words: &str) -> bool {
    text.strip_prefix(words)
        .is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// One process is one game: of those that the same process may be, only the surest stay, and all of them when they are equals.
fn without_doubles(found: Vec<Detected>) -> Vec<Detected> {
    let mut surest: BTreeMap<u32, f64> = BTreeMap::new();
    for one in &found {
        let confidence = surest.entry(one.pid).or_insert(one.confidence);
        *confidence = confidence.max(one.confidence);
    }
    found
        .into_iter()
        .filter(|one| surest.get(&one.pid).is_none_or(|surest| one.confidence >= *surest))
        .collect()
}

#[cfg(test)]
mod tests;
