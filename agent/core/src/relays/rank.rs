//! Which of several relays is preferred: ranks are plain data, compared in the order of their fields.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use lanrage_shared::ids::{DeviceId, RelayId};

/// A relay that is in use is left only for one that is better by this: more than the jitter of a home network, less than what a
/// player feels.
pub(super) const HYSTERESIS: Duration = Duration::from_millis(10);
/// Relays this close to the best one are its equals, among which devices spread evenly.
const EQUAL: Duration = Duration::from_millis(5);
/// Up to this load, in percent, a relay serves as well as an empty one.
const BUSY_PERCENT: u8 = 50;
/// Above it each percent counts as so much distance, so that whoever is new prefers the emptier of two that are about as near.
const BUSY: Duration = Duration::from_millis(1);
/// Above this a relay may be full any moment (what members are told of a load may be 10 points old), and a full one drops packets
/// and refuses sessions: each percent counts as if it were out of reach.
const NEARLY_FULL_PERCENT: u8 = 85;
const NEARLY_FULL: Duration = Duration::from_millis(100);

/// What a relay's load counts as, in distance. Whoever uses it already does not mind a busy one: it is part of that load itself,
/// and if everybody moved at the same word, the next relay would be the busy one.
pub(crate) fn load_cost(load: u8, in_use: bool) -> Duration {
    let above = |percent| u32::from(load.saturating_sub(percent));
    let busy = if in_use { 0 } else { above(BUSY_PERCENT) };
    BUSY * busy + NEARLY_FULL * above(NEARLY_FULL_PERCENT)
}

/// What is known of a relay, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Footing {
    Measured,
    Unmeasured,
    /// It did not answer when it was last tried, or is about to stop.
    Failed,
}

/// A relay that is compared with others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender<'a> {
    pub id: &'a RelayId,
    pub footing: Footing,
    /// Round trip and load.
    pub cost: Duration,
    pub in_use: bool,
    /// Not in the region of the nearest relay.
    pub abroad: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    footing: Footing,
    /// The best one's for all that are as good.
    cost: Duration,
    newcomer: bool,
    abroad: bool,
    spread: u64,
}

/// The best of them, for this device.
pub(super) fn best<'a>(contenders: &[Contender<'a>], device: DeviceId) -> Option<&'a RelayId> {
    let (footing, least) = contenders.iter().map(|each| (each.footing, each.cost)).min()?;
    let rank = |each: &&Contender<'a>| {
        let margin = if each.in_use { HYSTERESIS } else { EQUAL };
        let equal = each.footing == footing && each.cost <= least + margin;
        Rank {
            footing: each.footing,
            cost: if equal { least } else { each.cost },
            newcomer: !each.in_use,
            abroad: each.abroad,
            spread: spread(device, each.id),
        }
    };
    contenders.iter().min_by_key(rank).map(|each| each.id)
}

/// The same device prefers the same one of equals, and different devices different ones.
pub(super) fn spread(device: DeviceId, relay: &RelayId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device.0, relay.as_str()).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_counts_for_newcomers_from_half_on_and_for_everybody_when_it_is_nearly_full() {
        let ms = |load, in_use| load_cost(load, in_use).as_millis();
        assert_eq!(
            [0, 50, 60, 85, 90, 100].map(|load| ms(load, false)),
            [0, 0, 10, 35, 540, 1550]
        );
        assert_eq!(
            [0, 50, 60, 85, 90, 100].map(|load| ms(load, true)),
            [0, 0, 0, 0, 500, 1500]
        );
    }
}
