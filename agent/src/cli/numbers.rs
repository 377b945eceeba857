//! Numbers from the command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The number in `text`, or a sentence that says what it should be: `what` names it, e.g. "a UDP port".
pub(super) fn within<T>(text: &str, range: RangeInclusive<T>, what: &str) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is not {what} from {} to {}", range.start(), range.end()))
}
