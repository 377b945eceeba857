//! This PC's clock against the server's. Members agree on the server's time; probes are refused when they are too old.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::api::Failure;

/// A clock this far off makes signed things look expired or not yet valid: 5 minutes, in ms.
pub const TOLERATED_MS: u64 = 5 * 60 * 1000;

/// What to add to this PC's clock to get the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Positive when this PC is behind.
    pub offset_ms: i64,
    /// When it was measured.
    pub measured: Instant,
}

impl ClockOffset {
    /// From an answer that just arrived to a question asked at `asked_ms`: the server looked at its clock halfway.
    pub(super) fn measured(asked_ms: i64, server_ms: u64) -> Self {
        let halfway = asked_ms.midpoint(wall_ms());
        Self {
            offset_ms: i64::try_from(server_ms).unwrap_or(i64::MAX).saturating_sub(halfway),
            measured: Instant::now(),
        }
    }

    /// What the server's clock shows now, in milliseconds since the Unix epoch.
    pub fn server_now_ms(self) -> u64 {
        u64::try_from(wall_ms().saturating_add(self.offset_ms)).unwrap_or_default()
    }
}

/// Refuses a clock that is more than 5 minutes off, and says by how much.
pub fn check_clock(offset: ClockOffset) -> Result<(), Failure> {
    let off = offset.offset_ms.unsigned_abs();
    if off <= TOLERATED_MS {
        return Ok(());
    }
    let direction = if offset.offset_ms < 0 { "ahead of" } else { "behind" };
    Err(Failure::new(
        "clock_wrong",
        format!(
            "this PC's clock is {} {direction} the server's; set it ({HOW_TO_SET}), then try again",
            in_words(off.saturating_add(30_000) / 60_000)
        ),
    ))
}

/// How people set their clock.
#[cfg(not(windows))]
pub const HOW_TO_SET: &str = "`sudo timedatectl set-ntp true`";
#[cfg(windows)]
pub const HOW_TO_SET: &str = "Settings, Time & language, Sync now";

fn in_words(minutes: u64) -> String {
    let (days, hours, minutes) = (minutes / (24 * 60), minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) if minutes == 0 => format!("{hours} h"),
        (0, _) => format!("{hours} h {minutes} min"),
        (1, _) => format!("1 day {hours} h"),
        _ => format!("{days} days {hours} h"),
    }
}

/// The wall clock in ms since the Unix epoch.
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(offset_ms: i64) -> Result<(), String> {
        let measured = Instant::now();
        check_clock(ClockOffset { offset_ms, measured }).map_err(|failure| failure.message)
    }

    #[test]
    fn a_clock_within_five_minutes_is_taken() {
        assert_eq!(check(5 * 60 * 1000), Ok(()));
        assert_eq!(check(-5 * 60 * 1000), Ok(()));
    }

    #[test]
    fn a_wrong_clock_is_refused_with_how_wrong_it_is() {
        for milliseconds in [-6 * 3600 * 1000, -6 * 3600 * 1000 + 800, -6 * 3600 * 1000 - 800] {
            let ahead = check(milliseconds).unwrap_err();
            assert!(
                ahead.starts_with("this PC's clock is 6 h ahead of the server's"),
                "{ahead}"
            );
        }
        let behind = check(50 * 3600 * 1000).unwrap_err();
        assert!(
            behind.starts_with("this PC's clock is 2 days 2 h behind the server's"),
            "{behind}"
        );
        assert!(check(i64::MIN).is_err());
    }
}
