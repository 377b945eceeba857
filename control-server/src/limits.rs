//! How often anybody may ask, before it costs a signature check or a transaction.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lanrage_shared::ids::DeviceId;

use crate::config::LimitsConfig;

/// Authenticated requests of one device: what an impatient person with a script makes, and no more.
const DEVICE_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
const DEVICE_BURST: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Request rates, by address for who has not shown a token and by device for who has.
pub struct Limits {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    devices: DefaultKeyedRateLimiter<DeviceId>,
    clock: DefaultClock,
}

impl Limits {
    /// With the configured rates.
    pub fn new(config: &LimitsConfig) -> Self {
        let by_address = Quota::per_second(config.requests_per_second).allow_burst(config.request_burst);
        let by_device = Quota::per_second(DEVICE_PER_SECOND).allow_burst(DEVICE_BURST);
        Self {
            addresses: RateLimiter::keyed(by_address),
            devices: RateLimiter::keyed(by_device),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request without a token; the seconds to wait when there were too many.
    pub fn address(&self, address: IpAddr) -> Result<(), u64> {
        self.addresses
            .check_key(&household(address))
            .map_err(|until| seconds(until.wait_time_from(self.clock.now())))
    }

    /// Counts one request of a device; the seconds to wait when there were too many.
    pub fn device(&self, device: DeviceId) -> Result<(), u64> {
        self.devices
            .check_key(&device)
            .map_err(|until| seconds(until.wait_time_from(self.clock.now())))
    }

    /// Forgets whoever has been quiet long enough to have their whole burst again, which keeps the maps bounded by the
    /// rates themselves.
    pub fn forget_idle(&self) {
        self.addresses.retain_recent();
        self.devices.retain_recent();
        self.addresses.shrink_to_fit();
        self.devices.shrink_to_fit();
    }
}

fn seconds(wait: std::time::Duration) -> u64 {
    wait.as_secs() + 1
}

/// Who one address stands for: an IPv6 household owns a /64 and could send from each of its addresses.
pub fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        },
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_shares_one_limit() {
        assert_eq!(
            household("2001:db8::1".parse().unwrap()),
            household("2001:db8::2".parse().unwrap())
        );
        assert_ne!(
            household("2001:db8::1".parse().unwrap()),
            household("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(
            household("::ffff:192.0.2.1".parse().unwrap()),
            "192.0.2.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn over_the_burst_the_caller_is_told_how_long_to_wait() {
        let limits = Limits::new(&LimitsConfig {
            requests_per_second: NonZeroU32::new(1).unwrap(),
            request_burst: NonZeroU32::new(2).unwrap(),
            ..LimitsConfig::default()
        });
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(limits.address(address), Ok(()));
        assert_eq!(limits.address(address), Ok(()));
        assert!(limits.address(address).is_err_and(|wait| (1..=2).contains(&wait)));
        assert_eq!(limits.address("192.0.2.2".parse().unwrap()), Ok(()));
    }
}
