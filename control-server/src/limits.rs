//! How often anybody may ask, before it costs a signature check or a transaction.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lanrage_shared::ids::DeviceId;
use serde::{Deserialize, Serialize};

use crate::config::{LimitsConfig, Rate, Within};

/// Those whose requests may wait to be told to other replicas; of more nothing is told.
const MAX_UNTOLD: usize = 10_000;

/// Who is counted, for what. A stranger is counted by its household; a device by itself and by its household, because anybody
/// can make devices for nothing. The two counts of a household are apart, so that a stranger does not keep its neighbours'
/// devices out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    Stranger(IpAddr),
    Household(IpAddr),
    Device(DeviceId),
    Redemption(DeviceId),
    NewParty(IpAddr),
}

/// Request rates.
pub struct Limits {
    strangers: DefaultKeyedRateLimiter<Counted>,
    households: DefaultKeyedRateLimiter<Counted>,
    devices: DefaultKeyedRateLimiter<Counted>,
    redemptions: DefaultKeyedRateLimiter<Counted>,
    new_parties: DefaultKeyedRateLimiter<Counted>,
    of_streams: StreamLimits,
    clock: DefaultClock,
    /// What other replicas have not been told of; none when there is no quick way to them.
    untold: Option<Mutex<HashMap<Counted, u32>>>,
}

/// What one stream may take.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    pub messages_per_second: Rate,
    pub message_burst: Rate,
    pub message_kib: Within<8, 1024>,
}

impl Limits {
    /// With the configured rates. `shared`: what is counted here is to be told to other replicas.
    pub fn new(config: &LimitsConfig, shared: bool) -> Self {
        let by_household = Quota::per_second(config.requests_per_second.get()).allow_burst(config.request_burst.get());
        let by_device =
            Quota::per_second(config.device_requests_per_second.get()).allow_burst(config.device_request_burst.get());
        let redemptions =
            Quota::per_minute(config.redemptions_per_minute.get()).allow_burst(config.redemption_burst.get());
        Self {
            strangers: RateLimiter::keyed(by_household),
            households: RateLimiter::keyed(by_household),
            devices: RateLimiter::keyed(by_device),
            redemptions: RateLimiter::keyed(redemptions),
            new_parties: RateLimiter::keyed(Quota::per_hour(config.parties_per_hour.get())),
            of_streams: StreamLimits {
                messages_per_second: config.messages_per_second,
                message_burst: config.message_burst,
                message_kib: config.message_kib,
            },
            clock: DefaultClock::default(),
            untold: shared.then(Mutex::default),
        }
    }

    /// What one stream may take.
    pub fn of_streams(&self) -> &StreamLimits {
        &self.of_streams
    }

    /// Counts one request without a token; the seconds to wait when there were too many.
    pub fn stranger(&self, address: IpAddr) -> Result<(), u64> {
        self.count(Counted::Stranger(household(address)))
    }

    /// Counts one request of a device at this address; the seconds to wait when there were too many.
    pub fn device(&self, device: DeviceId, address: IpAddr) -> Result<(), u64> {
        self.count(Counted::Device(device))?;
        self.count(Counted::Household(household(address)))
    }

    /// Counts one invite that a device shows; the seconds to wait when there were too many.
    pub fn redemption(&self, device: DeviceId) -> Result<(), u64> {
        self.count(Counted::Redemption(device))
    }

    /// Counts one party made from this address; the seconds to wait when there were too many.
    pub fn new_party(&self, address: IpAddr) -> Result<(), u64> {
        self.count(Counted::NewParty(household(address)))
    }

    /// What was counted here since it was last asked.
    pub fn take_untold(&self) -> Vec<(Counted, u32)> {
        let untold = self.untold.as_ref();
        untold.map_or_else(Vec::new, |untold| lock(untold).drain().collect())
    }

    /// Takes in what another replica counted: so all of them together let through what one would.
    pub fn counted_elsewhere(&self, counts: &[(Counted, u32)]) {
        for (who, times) in counts {
            let limiter = self.limiter(*who);
            // Once there is nothing left to take away, the other replica's callers have had everybody's share.
            let mut left = *times;
            while left > 0 && limiter.check_key(who).is_ok() {
                left -= 1;
            }
        }
    }

    /// Forgets whoever has been quiet long enough to have their whole burst again, which keeps the maps bounded by the
    /// rates themselves.
    pub fn forget_idle(&self) {
        for limiter in [
            &self.strangers,
            &self.households,
            &self.devices,
            &self.redemptions,
            &self.new_parties,
        ] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn count(&self, who: Counted) -> Result<(), u64> {
        let outcome = self.limiter(who).check_key(&who);
        outcome.map_err(|until| until.wait_time_from(self.clock.now()).as_secs() + 1)?;
        if let Some(untold) = &self.untold {
            let mut untold = lock(untold);
            if untold.len() < MAX_UNTOLD || untold.contains_key(&who) {
                *untold.entry(who).or_default() += 1;
            }
        }
        Ok(())
    }

    fn limiter(&self, who: Counted) -> &DefaultKeyedRateLimiter<Counted> {
        match who {
            Counted::Stranger(_) => &self.strangers,
            Counted::Household(_) => &self.households,
            Counted::Device(_) => &self.devices,
            Counted::Redemption(_) => &self.redemptions,
            Counted::NewParty(_) => &self.new_parties,
        }
    }
}

fn lock(untold: &Mutex<HashMap<Counted, u32>>) -> std::sync::MutexGuard<'_, HashMap<Counted, u32>> {
    // Every change is a single map operation.
    untold.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// So many requests at once, and one a second.
    fn few(burst: u32, shared: bool) -> Limits {
        let config = LimitsConfig {
            requests_per_second: Within::clamped(1),
            request_burst: Within::clamped(burst),
            ..LimitsConfig::default()
        };
        Limits::new(&config, shared)
    }

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
        let limits = few(2, false);
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(limits.stranger(address), Ok(()));
        assert_eq!(limits.stranger(address), Ok(()));
        assert!(limits.stranger(address).is_err_and(|wait| (1..=2).contains(&wait)));
        assert_eq!(limits.stranger("192.0.2.2".parse().unwrap()), Ok(()));
    }

    #[test]
    fn replicas_together_let_through_what_one_would() {
        let (one, two) = (few(5, true), few(5, true));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            one.stranger(address).unwrap();
        }
        let told = one.take_untold();
        assert_eq!(told, [(Counted::Stranger(address), 3)]);
        assert!(one.take_untold().is_empty());
        two.counted_elsewhere(&told);
        assert!(two.take_untold().is_empty(), "what was heard is not told again");
        let through = (0..5).filter(|_| two.stranger(address).is_ok()).count();
        assert_eq!(through, 2);
        // More than there was to take away.
        two.counted_elsewhere(&[(Counted::Stranger(address), u32::MAX)]);
        assert_eq!(two.stranger("192.0.2.2".parse().unwrap()), Ok(()));
    }

    #[test]
    fn who_is_counted_is_told_in_json() {
        let who = [
            (Counted::Device(DeviceId([7; 16])), 1),
            (Counted::NewParty([192, 0, 2, 1].into()), 2),
        ];
        let text = serde_json::to_string(&who).unwrap();
        assert_eq!(serde_json::from_str::<[(Counted, u32); 2]>(&text).unwrap(), who);
    }
}
