//! All games there is a profile of: those that came with this program, and over them the user's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use lanrage_shared::api::game::GameId;

use super::parse::{ProfileError, parse};
use super::profile::{Discovery, GameProfile, Method, PortRange};

static BUNDLED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../profiles");

/// All games there is a profile of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GameLibrary {
    games: BTreeMap<GameId, Arc<GameProfile>>,
}

impl GameLibrary {
    /// Those that came with this program. A test reads every file; one that were wrong all the same would be left out.
    pub fn bundled() -> Self {
        Self::of(
            bundled_files()
                .filter_map(|(file, text)| parse(file, text).ok())
                .map(Arc::new),
        )
    }

    /// These games; of two with the same id the latter.
    pub fn of(games: impl IntoIterator<Item = Arc<GameProfile>>) -> Self {
        let games = games.into_iter().map(|game| (game.id.clone(), game));
        Self { games: games.collect() }
    }

    /// This library with the user's profiles over its own.
    #[must_use]
    pub fn with(&self, user: &UserProfiles) -> Self {
        Self::of(self.games.values().chain(user.good.values()).cloned())
    }

    /// All of them, by id.
    pub fn games(&self) -> impl ExactSizeIterator<Item = &Arc<GameProfile>> {
        self.games.values()
    }

    /// The game of this id.
    pub fn game(&self, id: &GameId) -> Option<&Arc<GameProfile>> {
        self.games.get(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.games.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.games.is_empty()
    }

    /// Every way in which a game finds servers, and whose it is.
    pub fn discoveries(&self) -> impl Iterator<Item = (&Arc<GameProfile>, &Discovery)> {
        self.games()
            .flat_map(|game| game.discovery.iter().map(move |discovery| (game, discovery)))
    }

    /// The destination ports of every game's discovery; some are named more than once.
    pub fn discovery_ports(&self) -> impl Iterator<Item = PortRange> {
        self.discoveries().map(|(_, discovery)| discovery.ports.clone())
    }

    /// Every port of every game, discovery included; some are named more than once.
    pub fn all_ports(&self) -> impl Iterator<Item = PortRange> {
        self.games().flat_map(|game| game.all_ports())
    }

    /// The groups that games look for servers in.
    pub fn multicast_groups(&self) -> BTreeSet<IpAddr> {
        let group = |method| match method {
            Method::Multicast(group) => Some(group),
            Method::Broadcast => None,
        };
        self.discoveries()
            .filter_map(|(_, discovery)| group(discovery.method))
            .collect()
    }
}

/// Name and text of every file that came with this program.
pub(super) fn bundled_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = BUNDLED.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?;
        Some((name, file.contents_utf8()?))
    });
    files.filter(|(name, _)| name.ends_with(".toml"))
}

/// The user's profiles, as last read. A file that became wrong is told of, and what it said before still counts.
#[derive(Debug, Default)]
pub struct UserProfiles {
    /// By file name.
    good: BTreeMap<String, Arc<GameProfile>>,
    problems: Vec<ProfileError>,
}

impl UserProfiles {
    /// Takes all files there are now: name, and text or why there is none. Says whether anything is another.
    pub fn handle_files(&mut self, files: &[(String, Result<String, String>)]) -> bool {
        let mut good = BTreeMap::new();
        let mut problems = Vec::new();
        for (file, text) in files {
            let unread = |reason: &String| ProfileError {
                file: file.clone(),
                line: 1,
                reason: reason.clone(),
            };
            let read = text.as_ref().map_err(unread).and_then(|text| parse(file, text));
            let game = match read {
                Ok(game) => Some(Arc::new(game)),
                Err(problem) => {
                    problems.push(problem);
                    self.good.get(file).cloned()
                }
            };
            good.extend(game.map(|game| (file.clone(), game)));
        }
        let changed = good != self.good || problems != self.problems;
        (self.good, self.problems) = (good, problems);
        changed
    }

    /// What is wrong with files there are now.
    pub fn problems(&self) -> &[ProfileError] {
        &self.problems
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.good.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }

    /// Whether any game is known by its executable's hash, so that hashing is worth the reading.
    pub fn have_hashes(&self) -> bool {
        self.good.values().any(|game| !game.hashes.is_empty())
    }
}

#[cfg(test)]
mod tests;
