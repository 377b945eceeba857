//! What can be said of this PC while the agent is not running.

use std::path::Path;

use super::{DoctorCheck, lan, ok, problem, typed};
use crate::io::netwatch;
use crate::io::tun::TunDevice;
use crate::platform;

/// Says that the agent is not running, and whether it could.
pub fn checks(state_dir: &Path) -> Vec<DoctorCheck> {
    vec![
        problem(
            "agent",
            "the agent is not running, so there is no virtual LAN on this PC",
            format!("{} starts it", typed("up")),
        ),
        privileges(),
        tun_device(),
        directory(state_dir),
        lan::other_vpns(&netwatch::interfaces(""), ""),
    ]
}

fn privileges() -> DoctorCheck {
    match platform::check_privileges() {
        Ok(()) => ok("privileges", "whoever runs this may start the agent"),
        Err(why) => problem(
            "privileges",
            format!(
                "whoever runs this may not start the agent: {}",
                why.trim_end_matches('.')
            ),
            "run it as this says",
        ),
    }
}

fn tun_device() -> DoctorCheck {
    match TunDevice::check_system() {
        Ok(()) => ok("tun_device", "this system can make virtual adapters"),
        Err(error) => problem("tun_device", "virtual adapters cannot be made here", error.to_string()),
    }
}

fn directory(state_dir: &Path) -> DoctorCheck {
    let name = state_dir.display();
    let problem = |why: String| {
        problem(
            "state_dir",
            format!("the state directory {name} cannot be used: {why}"),
            "put that right, or name another directory with --state-dir",
        )
    };
    match state_dir.try_exists() {
        Ok(false) => {
            return ok(
                "state_dir",
                format!("the state directory {name} will be made when it is needed"),
            );
        }
        Err(error) => return problem(error.to_string()),
        Ok(true) => {}
    }
    match platform::check_directory(state_dir) {
        Ok(Ok(())) => ok("state_dir", format!("the state directory {name} is there")),
        Ok(Err(why)) => problem(format!("it {why}")),
        Err(error) => problem(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Verdict;

    #[test]
    fn without_an_agent_that_is_the_first_problem_and_the_rest_is_checked_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let checks = checks(dir.path());
        assert_eq!((checks[0].id.as_str(), checks[0].verdict), ("agent", Verdict::Problem));
        assert!(
            checks
                .iter()
                .any(|check| check.id == "state_dir" && check.verdict == Verdict::Ok)
        );
        let missing = directory(&dir.path().join("none"));
        assert_eq!(missing.verdict, Verdict::Ok, "it is made");
    }
}
