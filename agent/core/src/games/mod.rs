//! Which games there are, and which of them run.
//!
//! What is known of a game is a file ([`profile`]): what its processes and windows are called, its ports, how it looks for
//! servers in a LAN, how its traffic wants to be treated, and where each fact comes from. [`parse`] reads one and names the line
//! of what is wrong. A [`GameLibrary`] holds the files that came with this program and, over them, the user's. The driver tells
//! which processes there are ([`Process`]), and a [`Detector`] which games that makes, how sure that is, and why.

mod detect;
mod library;
mod names;
mod parse;
mod played;
mod probe;
mod process;
mod profile;
mod tuning;

pub use self::detect::{Detected, Detector, Evidence, NameMatch};
pub use self::library::{GameLibrary, UserProfiles};
pub use self::parse::{MAX_PROFILE, ProfileError, parse};
pub use self::played::{Current, Past, Played, playing, told};
pub use self::process::Process;
pub use self::profile::{
    Discovery, GameProfile, LatencyClass, Method, PortRange, Ports, Processes, Sender, Sha256, Tuning,
};
