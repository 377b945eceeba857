//! Ports as people write them.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A port, or a range of them: `4445`, `27960-27963`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortSpan {
    first: u16,
    last: u16,
}

/// Not a port nor a range of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a port from 1 to 65535 nor a range such as 27960-27963")]
pub struct NotPorts(String);

impl PortSpan {
    /// The ports in it.
    pub fn ports(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortSpan {
    type Err = NotPorts;

    fn from_str(text: &str) -> Result<Self, NotPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(NotPorts(text.to_owned())),
        }
    }
}

impl TryFrom<String> for PortSpan {
    type Error = NotPorts;

    fn try_from(text: String) -> Result<Self, NotPorts> {
        text.parse()
    }
}

impl From<PortSpan> for String {
    fn from(span: PortSpan) -> Self {
        span.to_string()
    }
}

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        for text in ["4445", "27960-27963", "1-65535"] {
            assert_eq!(text.parse::<PortSpan>().unwrap().to_string(), text);
        }
        for text in ["", "0", "65536", "9-8", "a", "1-2-3", "-5"] {
            assert!(text.parse::<PortSpan>().is_err(), "{text}");
        }
    }
}
