//! Why packets were dropped, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// From the TUN: not an IP packet, or shorter than its header says.
    Malformed,
    /// From the TUN: the source is not an address of this PC.
    ForeignSource,
    /// From the TUN: no member has the destination address.
    NoSuchMember,
    /// The peer has no working path at the moment.
    NoPath,
    /// From the network: no handshake or session of ours has the index it names.
    UnknownSession,
    /// From the network: a handshake by a device that is not a member.
    NotAMember,
    /// From the network: not authentic, replayed or out of date.
    Rejected,
    /// From a peer: the packet inside claims another member's address.
    SpoofedSource,
    /// From a peer: the packet inside is not for this member.
    ForeignDestination,
    /// From the network: neither WireGuard nor a member's probe, nor an answer that can be awaited.
    Noise,
    /// For the agent's loop, which has not caught up: a flood. What it needed is asked for again.
    LoopBusy,
    /// To a relay with which there is no session any more.
    RelayGone,
    /// To a relay: longer than it passes on.
    RelayTooLong,
    /// To a relay over TCP, which takes no more at the moment.
    RelayNoRoom,
    /// To a relay over QUIC: the oldest of those that wait gave way.
    RelayDisplaced,
}

const REASONS: [DropReason; 15] = [
    DropReason::Malformed,
    DropReason::ForeignSource,
    DropReason::NoSuchMember,
    DropReason::NoPath,
    DropReason::UnknownSession,
    DropReason::NotAMember,
    DropReason::Rejected,
    DropReason::SpoofedSource,
    DropReason::ForeignDestination,
    DropReason::Noise,
    DropReason::LoopBusy,
    DropReason::RelayGone,
    DropReason::RelayTooLong,
    DropReason::RelayNoRoom,
    DropReason::RelayDisplaced,
];

impl DropReason {
    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ForeignSource => "foreign_source",
            Self::NoSuchMember => "no_such_member",
            Self::NoPath => "no_path",
            Self::UnknownSession => "unknown_session",
            Self::NotAMember => "not_a_member",
            Self::Rejected => "rejected",
            Self::SpoofedSource => "spoofed_source",
            Self::ForeignDestination => "foreign_destination",
            Self::Noise => "noise",
            Self::LoopBusy => "loop_busy",
            Self::RelayGone => "relay_gone",
            Self::RelayTooLong => "relay_too_long",
            Self::RelayNoRoom => "relay_no_room",
            Self::RelayDisplaced => "relay_displaced",
        }
    }
}

/// A counter per reason, shared by all packet threads.
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; REASONS.len()]);

impl Drops {
    /// Counts one packet.
    pub fn count(&self, reason: DropReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every reason with its count so far.
    pub fn snapshot(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        REASONS
            .into_iter()
            .map(|reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)))
    }

    /// The count of one reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}
