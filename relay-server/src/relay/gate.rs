//! How many connections strangers may have. Each has proved its address: by a TCP handshake, or by answering a QUIC Retry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use lanrage_relay_core::stun::household;
use parking_lot::Mutex;

/// Connections that have not said hello, in all. Each takes about 30 KiB while it lasts.
pub(super) const STRANGERS: usize = 2048;
/// Of one household (an IPv4 address or an IPv6 /64): a whole LAN party behind one address reconnects at once.
pub(super) const STRANGERS_PER_SOURCE: u32 = 64;

/// Counts strangers.
#[derive(Debug, Default)]
pub(super) struct Gate {
    strangers: Mutex<Strangers>,
}

#[derive(Debug, Default)]
struct Strangers {
    total: usize,
    by_source: HashMap<IpAddr, u32>,
}

/// A stranger's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    source: IpAddr,
}

impl Gate {
    /// A place for a stranger from `address`, if there is one.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = household(address);
        let mut strangers = self.strangers.lock();
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
        let gate = Arc::new(Gate::default());
        let loud: IpAddr = [192, 0, 2, 1].into();
        let places: Vec<_> = std::iter::from_fn(|| gate.enter(loud)).collect();
        assert_eq!(places.len(), STRANGERS_PER_SOURCE as usize);
        assert!(gate.enter([192, 0, 2, 2].into()).is_some());
        drop(places);
        let strangers = gate.strangers.lock();
        assert_eq!((strangers.total, strangers.by_source.len()), (0, 0));
    }

    #[test]
    fn a_crowd_is_bounded() {
        let gate = Arc::new(Gate::default());
        let mut places = Vec::new();
        for source in 0..=u16::MAX {
            let [high, low] = source.to_be_bytes();
            places.extend(gate.enter([10, 0, high, low].into()));
        }
        assert_eq!(places.len(), STRANGERS);
    }
}
