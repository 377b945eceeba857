//! What `doctor` found.

use serde::{Deserialize, Serialize};

/// `lanrage doctor --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub checks: Vec<DoctorCheck>,
}

impl DoctorReport {
    /// Whether something is left that keeps games from finding each other.
    pub fn has_problem(&self) -> bool {
        self.checks.iter().any(|check| check.verdict == Verdict::Problem)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorCheck {
    /// Stable name for scripts, e.g. `route_broadcast`.
    pub id: String,
    pub verdict: Verdict,
    /// What was found, one sentence; of something that was fixed, what was wrong.
    pub what: String,
    /// What to do, one sentence; none when nothing is to be done.
    pub fix: Option<String>,
    /// It was wrong and has just been put right.
    pub fixed: bool,
}

/// What is thought of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, but not as well as it could.
    Warning,
    /// It keeps games from finding each other.
    Problem,
}
