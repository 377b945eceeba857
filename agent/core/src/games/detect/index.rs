//! Games by what their processes are called.
//!
//! Names as written and plain names are looked up by hash. Likeness is computed only for names of about the same length with
//! about the same letters, which leaves few of a thousand. Likeness is the normalised Levenshtein distance: of the 1,305 programs of a
//! Debian PC it took none for a game where Jaro-Winkler, which forgives any ending, took nine, and endings are stripped here anyway.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::NameMatch;
use crate::games::library::GameLibrary;
use crate::games::names::{file_name, first_word, plain, squeezed};
use crate::games::process::ProcessName;
use crate::games::profile::{GameProfile, Sha256};

/// Least likeness of two names.
const LIKE: f64 = 0.85;
/// A name this short is like too many others: one letter of six is already more than [`LIKE`] allows.
const SHORTEST_LIKE: usize = 7;
/// A directory or first word this short is a word like any other.
const SHORTEST_WORD: usize = 5;
/// A name this short is many programs', unless there is a number in it, as in `cs2`.
const SHORTEST_OWN: usize = 4;
const SHORTEST_NUMBERED: usize = 3;
/// Names that say nothing of which game it is.
const COMMON: &[&str] = &[
    "game",
    "games",
    "main",
    "client",
    "server",
    "launcher",
    "start",
    "run",
    "play",
    "player",
    "app",
    "application",
    "engine",
    "unity",
    "unityplayer",
    "ue4game",
    "ue5game",
    "ue4",
    "ue5",
    "godot",
    "program",
    "default",
    "setup",
    "update",
    "updater",
    "bootstrap",
    "loader",
    "dedicated",
    "srcds",
    "hlds",
    "hl",
    "hl2",
    "test",
    "demo",
    "core",
    "system",
    "service",
    "shipping",
    "release",
    "steam",
    "portal",
    "rust",
    "host",
    "editor",
    "viewer",
    "session",
    "control",
    "monitor",
    "manager",
    "terminal",
    "shell",
    "worker",
    "agent",
    "daemon",
    "helper",
    "runner",
];

/// One game's name among those of about its length.
#[derive(Debug)]
struct Entry {
    plain: String,
    letters: u64,
    game: usize,
}

/// Games by what their processes are called.
#[derive(Debug)]
pub(super) struct Index {
    games: Vec<Arc<GameProfile>>,
    /// By file name, in small letters.
    exact: HashMap<String, Vec<usize>>,
    plain: HashMap<String, Vec<usize>>,
    by_length: BTreeMap<usize, Vec<Entry>>,
    /// By the game's own name.
    directories: HashMap<String, Vec<usize>>,
    /// In small letters.
    titles: Vec<(usize, String)>,
    hashes: HashMap<Sha256, Vec<usize>>,
}

impl Index {
    pub fn new(library: &GameLibrary) -> Self {
        let mut index = Self {
            games: library.games().cloned().collect(),
            exact: HashMap::new(),
            plain: HashMap::new(),
            by_length: BTreeMap::new(),
            directories: HashMap::new(),
            titles: Vec::new(),
            hashes: HashMap::new(),
        };
        for (number, game) in library.games().enumerate() {
            index.add(number, game);
        }
        index
    }

    fn add(&mut self, number: usize, game: &GameProfile) {
        for name in game.processes.linux.iter().chain(&game.processes.windows) {
            note(&mut self.exact, file_name(name).to_lowercase(), number);
            let plain = plain(name);
            if note(&mut self.plain, plain.clone(), number) && plain.len() >= SHORTEST_LIKE {
                let letters = letters(&plain);
                let entries = self.by_length.entry(plain.chars().count()).or_default();
                entries.push(Entry {
                    plain,
                    letters,
                    game: number,
                });
            }
        }
        let directory = squeezed(game.name.as_str());
        if directory.len() >= SHORTEST_WORD && !COMMON.contains(&directory.as_str()) {
            note(&mut self.directories, directory, number);
        }
        for hash in &game.hashes {
            self.hashes.entry(*hash).or_default().push(number);
        }
        let titles = game
            .window_titles
            .iter()
            .map(|title| (number, title.trim().to_lowercase()));
        self.titles.extend(titles);
    }

    /// The game of this number.
    pub fn game(&self, number: usize) -> &Arc<GameProfile> {
        &self.games[number]
    }

    pub fn by_hash(&self, hash: &Sha256) -> impl Iterator<Item = usize> {
        self.hashes.get(hash).into_iter().flatten().copied()
    }

    /// Games that are called like a directory, squeezed.
    pub fn by_directory(&self, directory: &str) -> impl Iterator<Item = usize> {
        self.directories.get(directory).into_iter().flatten().copied()
    }

    /// How the titles of the games' windows begin.
    pub fn titles(&self) -> impl Iterator<Item = (usize, &String)> {
        self.titles.iter().map(|(game, title)| (*game, title))
    }

    /// Games that may be called so, and how.
    pub fn find(&self, name: &ProcessName<'_>) -> Vec<(usize, NameMatch)> {
        if let Some(games) = self.exact.get(&name.name().to_lowercase()) {
            return found(games, &name.plain, NameMatch::Exact);
        }
        if let Some(games) = self.plain.get(&name.plain) {
            return found(games, &name.plain, NameMatch::Stripped);
        }
        let word = first_word(name.path);
        if word.len() >= SHORTEST_WORD
            && !COMMON.contains(&word.as_str())
            && let Some(games) = self.plain.get(&word)
        {
            return found(games, &word, NameMatch::FirstWord);
        }
        self.like(&name.plain)
    }

    fn like(&self, plain: &str) -> Vec<(usize, NameMatch)> {
        let (length, own) = (plain.chars().count(), letters(plain));
        if length < SHORTEST_LIKE || COMMON.contains(&plain) {
            return Vec::new();
        }
        let mut best: BTreeMap<usize, f64> = BTreeMap::new();
        // The longer of the two decides how many edits there may be.
        let furthest = edits(length + edits(length) + 1);
        for (longer, entry) in self
            .by_length
            .range(length - furthest..=length + furthest)
            .flat_map(|(other, entries)| entries.iter().map(move |entry| (length.max(*other), entry)))
        {
            // Every edit takes a letter from one or adds one to the other, or both.
            if (entry.letters ^ own).count_ones() as usize > 2 * edits(longer) {
                continue;
            }
            let likeness = strsim::normalized_levenshtein(plain, &entry.plain);
            if likeness >= LIKE && same_numbers(plain, &entry.plain) {
                let known = best.entry(entry.game).or_default();
                *known = known.max(likeness);
            }
        }
        best.into_iter()
            .map(|(game, likeness)| (game, NameMatch::Like(likeness)))
            .collect()
    }
}

/// What an equal name says.
fn found(games: &[usize], plain: &str, how: NameMatch) -> Vec<(usize, NameMatch)> {
    let how = if games.len() > 1 || is_short(plain) || COMMON.contains(&plain) {
        NameMatch::Common
    } else {
        how
    };
    games.iter().map(|&game| (game, how)).collect()
}

fn is_short(plain: &str) -> bool {
    let is_numbered = plain.bytes().any(|byte| byte.is_ascii_digit());
    plain.len() < if is_numbered { SHORTEST_NUMBERED } else { SHORTEST_OWN }
}

/// Notes a game under a key; false when it is there already.
fn note(index: &mut HashMap<String, Vec<usize>>, key: String, game: usize) -> bool {
    let games = index.entry(key).or_default();
    let is_new = !games.contains(&game);
    if is_new {
        games.push(game);
    }
    is_new
}

/// Edits that a name of this length may have and still be like another.
fn edits(length: usize) -> usize {
    ((1.0 - LIKE) * length as f64 + 1e-9) as usize
}

/// Which letters and digits a name has.
fn letters(plain: &str) -> u64 {
    let place = |byte: u8| match byte {
        b'a'..=b'z' => byte - b'a',
        b'0'..=b'9' => 26 + byte - b'0',
        // All else shares what is left.
        _ => 36 + byte % 28,
    };
    plain.bytes().fold(0, |set, byte| set | 1 << place(byte))
}

/// Whether both have the same digits: `quake3` is not `quake2`, however alike.
fn same_numbers(one: &str, other: &str) -> bool {
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    digits(one) == digits(other)
}
