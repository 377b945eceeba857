use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use ipnet::Ipv4Net;

use super::output::{self, SUDO};
use super::{Context, agent};
use crate::api::{DoctorCheck, DoctorReport, Failure, Request, Verdict};
use crate::doctor::local;

/// Find out what keeps games from finding each other. Exit code 1: something does.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Repair what can be repaired, look again, and show what was repaired.
    #[arg(long)]
    fix: bool,
    /// Also move the party out of the way of this network, which a guest has at home (host only).
    #[arg(long, value_name = "NETWORK", requires = "fix")]
    avoid: Vec<Ipv4Net>,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<ExitCode, Failure> {
        let request = Request::Doctor {
            fix: self.fix,
            avoid: self.avoid,
        };
        let mut can_fix = !self.fix;
        let report: DoctorReport = match agent::ask(context, &request).await {
            Err(failure) if failure.code == "not_running" => {
                can_fix = false;
                DoctorReport {
                    checks: local::checks(&context.state_dir),
                }
            }
            answer => answer?,
        };
        if context.json {
            output::json(&report)?;
        } else {
            output::text(&in_words(&report, can_fix))?;
        }
        Ok(if report.has_problem() {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn in_words(report: &DoctorReport, can_fix: bool) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let _ = writeln!(text, "{:<9} {}", mark(check), check.what);
        if let Some(fix) = &check.fix {
            let _ = writeln!(text, "{:<9} → {fix}", "");
        }
    }
    let problems = report
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Problem)
        .count();
    let is_outside = |check: &DoctorCheck| check.id == "party" && check.verdict == Verdict::Unknown;
    let is_uncertain = report.checks.iter().any(is_outside);
    let _ = match (problems, can_fix) {
        (0, _) if is_uncertain => write!(
            text,
            "\nNo problem was found, but outside a party there is little to look at."
        ),
        (0, _) => write!(text, "\nNothing keeps games from finding each other."),
        (_, true) => write!(
            text,
            "\n{} `{SUDO}lanrage doctor --fix` repairs what it can.",
            counted(problems)
        ),
        (_, false) => write!(text, "\n{} The arrows above say what to do.", counted(problems)),
    };
    text
}

fn counted(problems: usize) -> String {
    match problems {
        1 => "One problem is left.".to_owned(),
        more => format!("{more} problems are left."),
    }
}

fn mark(check: &DoctorCheck) -> &'static str {
    match check.verdict {
        Verdict::Ok if check.fixed => "repaired",
        Verdict::Ok => "ok",
        Verdict::Unknown => "unknown",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verdict: Verdict, fix: Option<&str>, fixed: bool) -> DoctorCheck {
        DoctorCheck {
            id: "mtu".into(),
            verdict,
            what: "something".into(),
            fix: fix.map(str::to_owned),
            fixed,
        }
    }

    #[test]
    fn problems_are_shown_with_what_to_do_and_repairs_as_such() {
        let report = DoctorReport {
            checks: vec![
                check(Verdict::Ok, None, false),
                check(Verdict::Ok, None, true),
                check(Verdict::Problem, Some("do this"), false),
            ],
        };
        assert!(report.has_problem());
        assert_eq!(
            in_words(&report, false),
            "ok        something\n\
             repaired  something\n\
             PROBLEM   something\n          \
             → do this\n\
             \nOne problem is left. The arrows above say what to do."
        );
        assert!(in_words(&report, true).contains("doctor --fix"));
    }

    #[test]
    fn a_warning_is_no_problem() {
        let report = DoctorReport {
            checks: vec![check(Verdict::Warning, Some("do that"), false)],
        };
        assert!(!report.has_problem());
        assert!(in_words(&report, false).ends_with("Nothing keeps games from finding each other."));
    }
}
