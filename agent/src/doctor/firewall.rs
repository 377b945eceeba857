//! Whether this PC's firewall lets the other members in.

use super::{DoctorCheck, ok, problem, typed, unknown};

/// What a firewall does with what comes in by the virtual adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firewall {
    /// Lets it in, or there is none. In words: which, and why.
    Open(String),
    Shut {
        /// What keeps it out.
        by: String,
        /// The command that lets it in.
        command: String,
        /// [`crate::platform::open_firewall`] knows how.
        fixable: bool,
    },
    /// Why that cannot be told.
    Unknown(String),
}

/// The verdict.
pub fn check(firewall: &Firewall) -> DoctorCheck {
    match firewall {
        Firewall::Open(why) => ok("firewall", why.clone()),
        Firewall::Unknown(why) => unknown(
            "firewall",
            why.clone(),
            "if others cannot join your game, allow incoming connections on the virtual adapter in your firewall",
        ),
        Firewall::Shut { by, command, fixable } => {
            let what = format!("{by} keeps out what members send, so they cannot join games on this PC");
            let fix = if *fixable {
                format!("{} runs `{command}`", typed("doctor --fix"))
            } else {
                format!("run `{command}`")
            };
            problem("firewall", what, fix)
        }
    }
}
