//! What speaks for a game, in words and by weight.
//!
//! Each kind of evidence has the probability that the game runs if there were nothing else; they are taken as independent, so that
//! what remains in doubt is the product of what each leaves in doubt.

use std::fmt;

use lanrage_shared::api::game::Wording;

/// At least this is "definitely": a name as the profile writes it, and a port or a window's title besides.
const DEFINITELY: f64 = 0.95;
/// At least this is "probably": a name that is much like the profile's.
const PROBABLY: f64 = 0.6;
/// Below this nothing is said.
pub(super) const PERHAPS: f64 = 0.4;

/// One thing that speaks for a game.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// A process is called so.
    Name {
        name: String,
        how: NameMatch,
        /// Only another program's command line says so.
        is_wrapped: bool,
    },
    /// Its executable is one that the profile names.
    Hash,
    /// It listens on one of the game's ports.
    Port { udp: bool, port: u16 },
    /// One of its windows is called like the game, or begins so.
    Title { title: String, is_whole: bool },
    /// Its program lies in a directory that is called like the game.
    Directory(String),
}

/// How a process's name is one of a profile's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NameMatch {
    /// Letter for letter, but for their case.
    Exact,
    /// Without what builds and launchers add to it.
    Stripped,
    /// Its first word is.
    FirstWord,
    /// By likeness, from 0.85 to 1.
    Like(f64),
    /// A name that many programs have, or several games.
    Common,
}

impl Evidence {
    /// How likely the game is by this alone.
    fn weight(&self) -> f64 {
        match self {
            Self::Hash => 1.0,
            Self::Name { how, is_wrapped, .. } => {
                let weight = match how {
                    NameMatch::Exact => 0.9,
                    NameMatch::Stripped => 0.88,
                    NameMatch::FirstWord => 0.62,
                    // From 0.6 to 0.75.
                    NameMatch::Like(likeness) => likeness - 0.25,
                    NameMatch::Common => 0.45,
                };
                // Its command line may name what it does not run.
                if *is_wrapped { weight * 0.97 } else { weight }
            }
            Self::Port { .. } => 0.6,
            Self::Title { is_whole: true, .. } => 0.65,
            Self::Title { is_whole: false, .. } => 0.5,
            Self::Directory(_) => 0.55,
        }
    }

    /// Whether another piece of evidence says the same, and the surer one is enough.
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// All that speaks for one game.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    pub evidence: Vec<Evidence>,
}

impl Weighed {
    /// Takes another piece; of two of a kind the surer stays.
    pub fn add(&mut self, evidence: Evidence) {
        match self.evidence.iter_mut().find(|known| known.is_like(&evidence)) {
            Some(known) if known.weight() < evidence.weight() => *known = evidence,
            Some(_) => {}
            None => self.evidence.push(evidence),
        }
    }

    pub fn confidence(&self) -> f64 {
        1.0 - self
            .evidence
            .iter()
            .map(|evidence| 1.0 - evidence.weight())
            .product::<f64>()
    }
}

pub(super) fn wording(confidence: f64) -> Wording {
    if confidence >= DEFINITELY {
        Wording::Definitely
    } else if confidence >= PROBABLY {
        Wording::Probably
    } else {
        Wording::Perhaps
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash => f.write_str("its program file is the one the profile names"),
            Self::Name { name, how, is_wrapped } => {
                let verb = if *is_wrapped { "was told to run" } else { "is called" };
                write!(f, "a process {verb} {name}")?;
                match how {
                    NameMatch::Exact => Ok(()),
                    NameMatch::Stripped => f.write_str(", which is the game's name with an addition"),
                    NameMatch::FirstWord => f.write_str(", which begins with the game's name"),
                    NameMatch::Like(likeness) => {
                        write!(f, ", which is like the game's name ({:.0} %)", likeness * 100.0)
                    }
                    NameMatch::Common => f.write_str(", as many are"),
                }
            }
            Self::Port { udp, port } => write!(f, "it listens on {} port {port}", if *udp { "UDP" } else { "TCP" }),
            Self::Title { title, is_whole: true } => write!(f, "its window is called \"{title}\""),
            Self::Title { title, .. } => write!(f, "its window's title \"{title}\" begins like the game's"),
            Self::Directory(name) => write!(f, "its program lies in a folder called {name}"),
        }
    }
}
