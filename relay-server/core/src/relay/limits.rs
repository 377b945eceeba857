//! How much one member, and all of them together, may use.

/// What the operator grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub sessions: u32,
    /// Frames one member may send in a second.
    pub member_frames_per_s: u32,
    /// Bytes one member may send in a second.
    pub member_bytes_per_s: u64,
    /// Bytes the relay sends in a second, all members together; the rate of the machine's uplink.
    pub egress_bytes_per_s: u64,
}

impl Default for Limits {
    /// 10,000 sessions; a member 20,000 frames and 100 Mbit/s, which no game comes near; 1 Gbit/s in all.
    fn default() -> Self {
        Self {
            sessions: 10_000,
            member_frames_per_s: 20_000,
            member_bytes_per_s: 100_000_000 / 8,
            egress_bytes_per_s: 1_000_000_000 / 8,
        }
    }
}
