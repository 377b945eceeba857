//! Whether this PC slept: what the clocks say between two looks at them.

use std::time::{Duration, Instant};

/// When a PC slept this long, everybody else has had time to give it up.
const LONG: Duration = Duration::from_secs(5);
/// Two looks are a fraction of a second apart. When they were this far apart without any sleep, the program was stopped; a PC that is
/// merely too busy to let it run has done so by then, and would only be busier with looking at everything anew.
const STOPPED: Duration = Duration::from_secs(20);
/// What the two clocks may differ by because they are read one after the other.
const READING: Duration = Duration::from_millis(100);

/// The PC slept, or the program was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleep {
    /// How much of it [`Instant`] does not know of.
    pub uncounted: Duration,
    /// Whether it was long enough for others to have given this PC up.
    pub is_long: bool,
}

/// Compares the clock that timers go by with one that goes on in sleep.
#[derive(Debug, Default)]
pub struct SleepWatch {
    start: Option<(Instant, Duration)>,
    last: Option<Instant>,
    /// What was told of by now.
    uncounted: Duration,
}

impl SleepWatch {
    /// Wanted a few times a second. `uptime` is the time since the PC started, sleep included; none where `now` includes it.
    /// A clock that somebody sets is neither of the two.
    pub fn handle_look(&mut self, now: Instant, uptime: Option<Duration>) -> Option<Sleep> {
        let uptime = uptime.unwrap_or_default();
        let (start, uptime_then) = *self.start.get_or_insert((now, uptime));
        let counted = now.saturating_duration_since(start);
        let asleep = uptime.saturating_sub(uptime_then).saturating_sub(counted);
        // Against the start, so that many short sleeps add up to what they are.
        let uncounted = Some(asleep.saturating_sub(self.uncounted)).filter(|more| *more >= READING);
        let uncounted = uncounted.unwrap_or_default();
        self.uncounted += uncounted;
        let awake = now.saturating_duration_since(self.last.replace(now).unwrap_or(now));
        let sleep = Sleep {
            uncounted,
            is_long: uncounted >= LONG || awake + uncounted >= STOPPED,
        };
        (sleep.is_long || !uncounted.is_zero()).then_some(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_pc_that_is_awake_or_busy_did_not_sleep() {
        let (mut watch, mut now, mut uptime) = (SleepWatch::default(), Instant::now(), seconds(1000));
        for step in [TICK, TICK, seconds(15), TICK] {
            now += step;
            // Never read at the very same moment.
            uptime += step + Duration::from_millis(1);
            assert_eq!(watch.handle_look(now, Some(uptime)), None);
        }
    }

    #[test]
    fn a_sleep_the_timers_do_not_know_of_is_told_once_and_in_full() {
        let (mut watch, now) = (SleepWatch::default(), Instant::now());
        assert_eq!(watch.handle_look(now, Some(seconds(10))), None);
        let slept = Sleep {
            uncounted: seconds(600),
            is_long: true,
        };
        assert_eq!(watch.handle_look(now + TICK, Some(seconds(610) + TICK)), Some(slept));
        assert_eq!(watch.handle_look(now + TICK * 2, Some(seconds(610) + TICK * 2)), None);
    }

    #[test]
    fn short_sleeps_are_counted_though_nobody_missed_this_pc() {
        let (mut watch, now) = (SleepWatch::default(), Instant::now());
        watch.handle_look(now, Some(seconds(0)));
        let slept = Sleep {
            uncounted: seconds(2),
            is_long: false,
        };
        assert_eq!(watch.handle_look(now + TICK, Some(seconds(2) + TICK)), Some(slept));
        assert_eq!(
            watch.handle_look(now + TICK * 2, Some(seconds(4) + TICK * 2)),
            Some(slept)
        );
    }

    #[test]
    fn a_program_that_was_stopped_was_away_but_has_the_right_time() {
        let now = Instant::now();
        for uptime in [None, Some(seconds(5))] {
            let mut watch = SleepWatch::default();
            watch.handle_look(now, uptime);
            let stopped = watch.handle_look(now + seconds(60), uptime.map(|uptime| uptime + seconds(60)));
            let expected = Sleep {
                uncounted: Duration::ZERO,
                is_long: true,
            };
            assert_eq!(stopped, Some(expected));
        }
    }
}
