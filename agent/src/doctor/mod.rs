//! What keeps games from finding each other, in plain words, and what to do about it.
//!
//! Each file judges one side of it by what others have looked up: [`party`] the server, the NAT, the relay and the clock,
//! [`adapter`] the virtual adapter, [`lan`] the networks and other VPNs this PC has besides, [`firewall`] who is let in.
//! [`local`] is what can be said without a running agent. Nothing here changes anything: the agent repairs
//! (`driver/doctor.rs`), is examined again, and [`compare`] says what that has put right.

pub mod adapter;
pub mod firewall;
pub mod lan;
pub mod local;
pub mod party;

use crate::api::{DoctorCheck, Verdict};
use crate::platform::SUDO;

/// A command to type, as people read it.
pub(crate) fn typed(command: &str) -> String {
    format!("`{SUDO}lanrage {command}`")
}

fn check(id: &str, verdict: Verdict, what: impl Into<String>, fix: Option<String>) -> DoctorCheck {
    DoctorCheck {
        id: id.to_owned(),
        verdict,
        what: what.into(),
        fix,
        fixed: false,
    }
}

fn ok(id: &str, what: impl Into<String>) -> DoctorCheck {
    check(id, Verdict::Ok, what, None)
}

fn unknown(id: &str, what: impl Into<String>, fix: impl Into<String>) -> DoctorCheck {
    check(id, Verdict::Unknown, what, Some(fix.into()))
}

fn warning(id: &str, what: impl Into<String>, fix: impl Into<String>) -> DoctorCheck {
    check(id, Verdict::Warning, what, Some(fix.into()))
}

fn problem(id: &str, what: impl Into<String>, fix: impl Into<String>) -> DoctorCheck {
    check(id, Verdict::Problem, what, Some(fix.into()))
}

/// What was found after a repair: of what was wrong before and is right now, it says what it was.
pub fn compare(before: &[DoctorCheck], after: Vec<DoctorCheck>) -> Vec<DoctorCheck> {
    let was_wrong = |id: &str| {
        let wrong = |check: &&DoctorCheck| check.id == id && check.verdict > Verdict::Unknown;
        before.iter().find(wrong)
    };
    let compared = after.into_iter().map(|check| match was_wrong(&check.id) {
        Some(before) if check.verdict == Verdict::Ok => DoctorCheck {
            what: before.what.clone(),
            fixed: true,
            ..check
        },
        _ => check,
    });
    compared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_and_is_right_now_was_fixed_and_says_what_it_was() {
        let before = [
            problem("mtu", "it was 9000", "set it"),
            problem("metric", "wg0 comes first", "end it"),
            unknown("clock", "no server", "wait"),
        ];
        let after = vec![
            ok("mtu", "it is 1280"),
            problem("metric", "wg0 comes first", "end it"),
            ok("clock", "it is right"),
        ];
        let compared = compare(&before, after.clone());
        assert_eq!(
            (compared[0].fixed, compared[0].verdict, compared[0].what.as_str()),
            (true, Verdict::Ok, "it was 9000")
        );
        assert_eq!(compared[1..], after[1..]);
    }
}
