//! What the agent's loop is bothered with: everybody may send to our port, so noise ends here, on the packet thread.

use std::time::Instant;

use lanrage_shared::signal;
use lanrage_shared::wire::{probe, stun};

use super::Table;
use crate::batch::{Packet, Route};
use crate::rate::Rate;

/// STUN answers (and relayed signals) let through per second and thread. Discovery asks a few dozen questions in its busiest second, and anybody
/// can forge what looks like an answer.
const STUN_PER_S: f64 = 500.0;

/// Sorts probes and STUN answers from noise.
#[derive(Debug)]
pub(super) struct ControlFilter(Rate);

impl Default for ControlFilter {
    fn default() -> Self {
        Self(Rate::new(STUN_PER_S, STUN_PER_S))
    }
}

impl ControlFilter {
    /// Whether a packet that is not WireGuard is worth the loop's time: a probe of a member, a signal through a relay, or what
    /// may be a STUN answer.
    pub(super) fn admits(&mut self, table: &Table, packet: &Packet, now: Instant) -> bool {
        if let Some(tag) = probe::tag_of(&packet.data) {
            return table.knows_tag(&tag);
        }
        let awaited = match packet.peer {
            Route::Direct(_) | Route::Side { .. } => stun::looks_like_stun(&packet.data),
            Route::Relay { .. } => signal::from_datagram(&packet.data).is_some(),
        };
        awaited && self.0.allow(now)
    }
}
