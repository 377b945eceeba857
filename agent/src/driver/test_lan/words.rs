//! Where a packet that was not heard was lost, and what to do about it.

use lanrage_agent_core::broadcast::Rejection;

use super::wire::{Sent, Target, Told};
use crate::platform::SUDO;

/// One member's part, as far as it became known.
pub struct Part<'a> {
    pub name: &'a str,
    /// Why it did not take part.
    pub absent: Option<&'a str>,
    /// Another program on its PC has the port for itself.
    pub taken: bool,
    /// What it told in the end.
    pub told: Option<&'a Told>,
}

/// What hears it at `to` instead of the test.
pub fn instead(to: &Part<'_>, target: &Target) -> String {
    format!(
        "a program on {}'s PC has port {} for itself, most likely the game, and hears it instead of this test",
        to.name,
        target.port()
    )
}

/// Why `to` did not hear `from`.
pub fn reason(from: &Part<'_>, to: &Part<'_>, target: &Target, arrived: bool) -> String {
    let (sender, hearer, port) = (from.name, to.name, target.port());
    for part in [from, to] {
        if let Some(absent) = part.absent {
            return absent.to_owned();
        }
        if part.told.is_none() {
            return format!("{}'s agent fell silent in the middle of the test", part.name);
        }
    }
    match from.told.map(|told| &told.sent) {
        Some(Sent::Nowhere) | None => {
            return format!(
                "{sender}'s PC did not send it into the tunnel: `{SUDO}lanrage doctor --fix` on that PC puts its routes right"
            );
        }
        Some(Sent::Refused(Rejection::PortNotAllowed)) => {
            return format!(
                "{sender}'s agent does not pass on port {port}: `{SUDO}lanrage lan --allow {port}` on that PC does"
            );
        }
        Some(Sent::Refused(why)) => {
            return format!("{sender}'s agent did not pass it on, as it was {}", why.in_words());
        }
        Some(Sent::ToAll) => {}
    }
    if arrived {
        return format!(
            "it reached {hearer}'s PC, but programs there do not hear it: `{SUDO}lanrage doctor` on that PC looks whether a firewall is in the way"
        );
    }
    format!("it was lost on the way from {sender} to {hearer}, or {hearer}'s agent did not let it in: try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_where_it_was_lost_is_named() {
        let target = Target::new(None, 4445).unwrap();
        let told = |sent| Told {
            sent,
            ..Told::default()
        };
        let to_all = told(Sent::ToAll);
        fn part<'a>(name: &'a str, told: &'a Told, taken: bool) -> Part<'a> {
            Part {
                name,
                absent: None,
                taken,
                told: Some(told),
            }
        }
        let why = |sent: &Told, taken, arrived| {
            let (from, to) = (part("Anna", sent, false), part("Ben", &to_all, taken));
            reason(&from, &to, &target, arrived)
        };
        assert!(why(&told(Sent::Nowhere), true, true).contains("doctor --fix"));
        assert!(why(&told(Sent::Refused(Rejection::PortNotAllowed)), false, false).contains("--allow 4445"));
        assert!(
            why(&told(Sent::Refused(Rejection::RateLimited)), false, false).contains("more than a member may send")
        );
        assert!(instead(&part("Ben", &to_all, true), &target).contains("a program on Ben's PC has port 4445"));
        assert!(why(&to_all, false, true).contains("firewall"));
        assert!(why(&to_all, false, false).contains("lost on the way"));
        let absent = Part {
            absent: Some("Ben is offline"),
            ..part("Ben", &to_all, false)
        };
        assert_eq!(
            reason(&part("Anna", &to_all, false), &absent, &target, false),
            "Ben is offline"
        );
    }
}
