//! How many connections strangers may have. Each has proved its address: by a TCP handshake, or by answering a QUIC Retry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use lanrage_relay_core::stun::{MAX_SOURCES, SourceLimiter, household};
use parking_lot::Mutex;

/// Connections that have not said hello, in all. Each takes about 30 KiB while it lasts.
pub(super) const STRANGERS: usize = 2048;
/// Of one household (an IPv4 address or an IPv6 /64): a whole LAN party behind one address reconnects at once.
pub(super) const STRANGERS_PER_SOURCE: u32 = 64;
/// Handshakes one household may begin in a second. Each costs about 0.4 ms of a core.
const HANDSHAKES_PER_S: u32 = 256;

/// Counts strangers.
#[derive(Debug)]
pub(super) struct Gate {
    strangers: Mutex<Strangers>,
}

#[derive(Debug)]
struct Strangers {
    total: usize,
    by_source: HashMap<IpAddr, u32>,
    handshakes: SourceLimiter,
}

/// A stranger's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    source: IpAddr,
}

impl Gate {
    /// Nobody is there.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            strangers: Mutex::new(Strangers {
                total: 0,
                by_source: HashMap::new(),
                handshakes: SourceLimiter::with_limits(HANDSHAKES_PER_S, MAX_SOURCES, now),
            }),
        }
    }

    /// A place for a stranger from `address`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Place> {
        let source = household(address);
        let mut strangers = self.strangers.lock();
        if !strangers.handshakes.admit(address, now) {
            return None;
        }
        let of_source = strangers.by_source.get(&source).copied().unwrap_or_default();
        if strangers.total >= STRANGERS || of_source >= STRANGERS_PER_SOURCE {
            return None;
        }
        strangers.total += 1;
        strangers.by_source.insert(source, of_source + 1);
        Some(Place {
            gate: Arc::clone(self),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut strangers = self.gate.strangers.lock();
        strangers.total -= 1;
        let left = strangers.by_source.get_mut(&self.source).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            strangers.by_source.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_every_place_and_leaves_no_trace() {
        let now = Instant::now();
        let gate = Arc::new(Gate::new(now));
        let loud: IpAddr = [192, 0, 2, 1].into();
        let places: Vec<_> = std::iter::from_fn(|| gate.enter(loud, now)).collect();
        assert_eq!(places.len(), STRANGERS_PER_SOURCE as usize);
        assert!(gate.enter([192, 0, 2, 2].into(), now).is_some());
        drop(places);
        let strangers = gate.strangers.lock();
        assert_eq!((strangers.total, strangers.by_source.len()), (0, 0));
    }

    #[test]
    fn a_crowd_is_bounded() {
        let now = Instant::now();
        let gate = Arc::new(Gate::new(now));
        let mut places = Vec::new();
        for source in 0..=u16::MAX {
            let [high, low] = source.to_be_bytes();
            places.extend(gate.enter([10, 0, high, low].into(), now));
        }
        assert_eq!(places.len(), STRANGERS);
    }

    #[test]
    fn one_source_cannot_shake_hands_all_the_time() {
        let now = Instant::now();
        let gate = Arc::new(Gate::new(now));
        let begun = (0..1000)
            .filter(|_| gate.enter([192, 0, 2, 1].into(), now).is_some())
            .count();
        assert_eq!(begun, HANDSHAKES_PER_S as usize);
        let later = now + std::time::Duration::from_secs(1);
        assert!(gate.enter([192, 0, 2, 1].into(), later).is_some());
    }
}
