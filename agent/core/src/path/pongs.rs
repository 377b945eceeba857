//! Answers to probes from where nothing of ours was answered yet. Who can forge a source could otherwise have us send as much to
//! it as it likes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// As many as an honest peer may ask of one address in [`SPAN`].
const MAX_PER_ADDRESS: usize = 5;
const SPAN: Duration = Duration::from_secs(1);
/// Addresses answered to within [`SPAN`]: a peer behind a NAT with another port for every destination is seen at one for each of
/// ours, and at as many again after a change of network.
const MAX_ADDRESSES: usize = 32;

/// When unproven addresses were answered to lately.
#[derive(Debug, Default)]
pub struct Pongs(BTreeMap<SocketAddr, VecDeque<Instant>>);

impl Pongs {
    /// Whether one more answer may go to this address; counts it if so.
    pub fn allow(&mut self, to: SocketAddr, now: Instant) -> bool {
        self.0.retain(|_, sent| {
            sent.retain(|at| now < *at + SPAN);
            !sent.is_empty()
        });
        if !self.0.contains_key(&to) && self.0.len() >= MAX_ADDRESSES {
            return false;
        }
        let sent = self.0.entry(to).or_default();
        if sent.len() >= MAX_PER_ADDRESS {
            return false;
        }
        sent.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 9], port))
    }

    #[test]
    fn an_address_is_answered_to_five_times_a_second() {
        let (mut pongs, start) = (Pongs::default(), Instant::now());
        let allowed = (0..3000).filter(|ms| pongs.allow(address(1), start + Duration::from_millis(*ms)));
        assert_eq!(allowed.count(), 15);
    }

    #[test]
    fn however_many_addresses_there_are_few_are_answered_to_and_remembered() {
        let (mut pongs, now) = (Pongs::default(), Instant::now());
        let allowed = (1..10_000).filter(|port| pongs.allow(address(*port), now)).count();
        assert_eq!((allowed, pongs.0.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert!(pongs.allow(address(20_000), now + SPAN));
    }
}
