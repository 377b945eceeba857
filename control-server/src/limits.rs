//! How often anybody may ask, before it costs a signature check or a transaction.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lanrage_shared::ids::DeviceId;

use crate::config::LimitsConfig;

/// Authenticated requests of one device: what an impatient person with a script makes, and no more.
const DEVICE_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
const DEVICE_BURST: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// Invites a device may redeem: each tells the whole party that somebody came or has another name.
const REDEMPTIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(20).unwrap();
const REDEMPTION_BURST: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// Request rates. A stranger is counted by its household; a device by itself and by its household, because anybody can make
/// devices for nothing. The two counts of a household are apart, so that a stranger does not keep its neighbours' devices out.
pub struct Limits {
    strangers: DefaultKeyedRateLimiter<IpAddr>,
    households: DefaultKeyedRateLimiter<IpAddr>,
    devices: DefaultKeyedRateLimiter<DeviceId>,
    redemptions: DefaultKeyedRateLimiter<DeviceId>,
    new_parties: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl Limits {
    /// With the configured rates.
    pub fn new(config: &LimitsConfig) -> Self {
        let by_household = Quota::per_second(config.requests_per_second).allow_burst(config.request_burst);
        let by_device = Quota::per_second(DEVICE_PER_SECOND).allow_burst(DEVICE_BURST);
        Self {
            strangers: RateLimiter::keyed(by_household),
            households: RateLimiter::keyed(by_household),
            devices: RateLimiter::keyed(by_device),
            redemptions: RateLimiter::keyed(Quota::per_minute(REDEMPTIONS_PER_MINUTE).allow_burst(REDEMPTION_BURST)),
            new_parties: RateLimiter::keyed(Quota::per_hour(config.parties_per_hour)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request without a token; the seconds to wait when there were too many.
    pub fn stranger(&self, address: IpAddr) -> Result<(), u64> {
        self.count(&self.strangers, &household(address))
    }

    /// Counts one request of a device at this address; the seconds to wait when there were too many.
    pub fn device(&self, device: DeviceId, address: IpAddr) -> Result<(), u64> {
        self.count(&self.devices, &device)?;
        self.count(&self.households, &household(address))
    }

    /// Counts one invite that a device shows; the seconds to wait when there were too many.
    pub fn redemption(&self, device: DeviceId) -> Result<(), u64> {
        self.count(&self.redemptions, &device)
    }

    /// Counts one party made from this address; the seconds to wait when there were too many.
    pub fn new_party(&self, address: IpAddr) -> Result<(), u64> {
        self.count(&self.new_parties, &household(address))
    }

    /// Forgets whoever has been quiet long enough to have their whole burst again, which keeps the maps bounded by the
    /// rates themselves.
    pub fn forget_idle(&self) {
        forget_idle(&self.strangers);
        forget_idle(&self.households);
        forget_idle(&self.devices);
        forget_idle(&self.redemptions);
        forget_idle(&self.new_parties);
    }

    fn count<K: Hash + Eq + Clone>(&self, limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), u64> {
        let outcome = limiter.check_key(key);
        outcome.map_err(|until| seconds(until.wait_time_from(self.clock.now())))
    }
}

fn forget_idle<K: Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>) {
    limiter.retain_recent();
    limiter.shrink_to_fit();
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
        assert_eq!(limits.stranger(address), Ok(()));
        assert_eq!(limits.stranger(address), Ok(()));
        assert!(limits.stranger(address).is_err_and(|wait| (1..=2).contains(&wait)));
        assert_eq!(limits.stranger("192.0.2.2".parse().unwrap()), Ok(()));
    }
}
