//! Joins the halves of split payloads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use lanrage_shared::ids::MemberId;
use lanrage_shared::wire::relay::Part;

/// Halves that wait for their other half. They travel one behind the other, so few are ever in between; when the other half
/// was lost, the oldest goes.
const MAX_WAITING: usize = 64;
/// How long a half waits for the other. Numbers come round after 32,768 split payloads, which takes longer.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Halves whose other half has not come.
#[derive(Debug, Default)]
pub(crate) struct Rejoin {
    waiting: VecDeque<Half>,
}

#[derive(Debug)]
struct Half {
    from: MemberId,
    part: Part,
    bytes: Bytes,
    since: Instant,
}

impl Rejoin {
    /// A frame came; gives its payload once that is whole.
    pub(crate) fn handle(&mut self, from: MemberId, part: Part, bytes: Bytes, now: Instant) -> Option<Bytes> {
        let other = match part {
            Part::Whole => return Some(bytes),
            Part::First(number) => Part::Second(number),
            Part::Second(number) => Part::First(number),
        };
        while self
            .waiting
            .front()
            .is_some_and(|half| now.saturating_duration_since(half.since) > MAX_WAIT)
        {
            self.waiting.pop_front();
        }
        let found = self
            .waiting
            .iter()
            .position(|half| (half.from, half.part) == (from, other));
        let Some(half) = found.and_then(|at| self.waiting.remove(at)) else {
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(Half {
                from,
                part,
                bytes,
                since: now,
            });
            return None;
        };
        let (first, second) = if matches!(part, Part::Second(_)) {
            (half.bytes, bytes)
        } else {
            (bytes, half.bytes)
        };
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        Some(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MemberId = MemberId(1);

    fn handle(rejoin: &mut Rejoin, part: Part, bytes: &'static str, now: Instant) -> Option<Bytes> {
        rejoin.handle(ONE, part, bytes.into(), now)
    }

    #[test]
    fn halves_are_joined_in_either_order() {
        let (mut rejoin, now) = (Rejoin::default(), Instant::now());
        assert_eq!(handle(&mut rejoin, Part::First(1), "wire", now), None);
        assert_eq!(handle(&mut rejoin, Part::Second(2), "B", now), None);
        assert_eq!(handle(&mut rejoin, Part::Whole, "whole", now), Some("whole".into()));
        assert_eq!(
            handle(&mut rejoin, Part::Second(1), "guard", now),
            Some("wireguard".into())
        );
        assert_eq!(handle(&mut rejoin, Part::First(2), "A", now), Some("AB".into()));
        assert!(rejoin.waiting.is_empty());
    }

    #[test]
    fn halves_of_others_and_of_long_ago_are_not_joined() {
        let (mut rejoin, now) = (Rejoin::default(), Instant::now());
        handle(&mut rejoin, Part::First(1), "old", now);
        assert_eq!(rejoin.handle(MemberId(2), Part::Second(1), "x".into(), now), None);
        assert_eq!(handle(&mut rejoin, Part::Second(1), "new", now + MAX_WAIT * 2), None);
    }

    #[test]
    fn lost_halves_do_not_pile_up() {
        let (mut rejoin, now) = (Rejoin::default(), Instant::now());
        for number in 0..1000 {
            handle(&mut rejoin, Part::First(number), "x", now);
        }
        assert_eq!(rejoin.waiting.len(), MAX_WAITING);
    }
}
