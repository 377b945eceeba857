//! A budget of requests per source and second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Requests one source may make in a second. An agent that measures its NAT sends about 30; a whole LAN party behind one
/// public address starts at once.
pub const REQUESTS_PER_SECOND: u32 = 600;
/// Sources remembered at once. 65,536 take about 2 MiB; more in one second is a flood with forged sources, and those over
/// it wait for the next second.
pub const MAX_SOURCES: usize = 65_536;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts requests per source in windows of one second. An IPv6 source is its /64: that is what one household has.
#[derive(Debug)]
pub struct SourceLimiter {
    window_ends: Instant,
    requests: HashMap<IpAddr, u32>,
    per_window: u32,
    max_sources: usize,
}

impl SourceLimiter {
    /// The limiter with [`REQUESTS_PER_SECOND`] and [`MAX_SOURCES`].
    pub fn new(now: Instant) -> Self {
        Self::with_limits(REQUESTS_PER_SECOND, MAX_SOURCES, now)
    }

    /// A limiter with bounds of its own.
    pub fn with_limits(per_second: u32, max_sources: usize, now: Instant) -> Self {
        Self {
            window_ends: now + WINDOW,
            requests: HashMap::new(),
            per_window: per_second,
            max_sources,
        }
    }

    /// Takes one request out of the source's budget; false when there is none left.
    pub fn admit(&mut self, source: IpAddr, now: Instant) -> bool {
        if now >= self.window_ends {
            self.requests.clear();
            self.window_ends = now + WINDOW;
        }
        let source = household(source);
        if self.requests.len() >= self.max_sources && !self.requests.contains_key(&source) {
            return false;
        }
        let requests = self.requests.entry(source).or_default();
        *requests = requests.saturating_add(1);
        *requests <= self.per_window
    }
}

/// What limits count as one source: an IPv4 address, or an IPv6 /64, which is what one household has.
pub fn household(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_source_has_its_budget_every_second() {
        let start = Instant::now();
        let mut limiter = SourceLimiter::with_limits(2, 8, start);
        assert!(limiter.admit(v4(1), start));
        assert!(limiter.admit(v4(1), start));
        assert!(!limiter.admit(v4(1), start));
        assert!(limiter.admit(v4(2), start), "others have their own");
        assert!(limiter.admit(v4(1), start + WINDOW));
    }

    #[test]
    fn the_table_is_bounded_and_empties_itself() {
        let start = Instant::now();
        let mut limiter = SourceLimiter::with_limits(2, 8, start);
        let admitted = (0..100).filter(|last| limiter.admit(v4(*last), start)).count();
        assert_eq!(admitted, 8);
        assert!(limiter.admit(v4(0), start), "known sources go on");
        assert!(limiter.admit(v4(99), start + WINDOW));
    }

    #[test]
    fn a_household_shares_one_budget() {
        let start = Instant::now();
        let mut limiter = SourceLimiter::with_limits(1, 8, start);
        assert!(limiter.admit("2001:db8::1".parse().unwrap(), start));
        assert!(!limiter.admit("2001:db8::2".parse().unwrap(), start));
        assert!(limiter.admit("2001:db8:0:1::1".parse().unwrap(), start));
    }
}
