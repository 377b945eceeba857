//! When to order a certificate.

use std::time::{Duration, SystemTime};

/// After a first failure. Let's Encrypt lets a name fail five times an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// At most.
const LONGEST_PAUSE: Duration = Duration::from_secs(12 * 3600);

/// From when to when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

/// The time of the next attempt: when a third of the certificate's time is left, or there is none; after `failures` attempts in a
/// row, of which the last was at `tried`, not before a pause that doubles.
pub(super) fn next_attempt(shown: Option<Validity>, failures: u32, tried: SystemTime) -> SystemTime {
    let due = shown.map_or(SystemTime::UNIX_EPOCH, |Validity { from, until }| {
        until - until.duration_since(from).unwrap_or_default() / 3
    });
    let Some(doublings) = failures.checked_sub(1) else {
        return due;
    };
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(LONGEST_PAUSE);
    due.max(tried + pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let from = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let until = from + DAY * 90;
        let shown = Some(Validity { from, until });
        assert_eq!(next_attempt(shown, 0, SystemTime::UNIX_EPOCH), from + DAY * 60);
        assert_eq!(next_attempt(None, 0, from), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn failures_are_further_and_further_apart() {
        let tried = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let pause = |failures| next_attempt(None, failures, tried).duration_since(tried).unwrap();
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 2);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
