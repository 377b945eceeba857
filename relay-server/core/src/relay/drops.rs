//! Why a frame was not passed on.

/// Why a frame was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Not a frame, or not one that members may send.
    Malformed,
    /// The sender's session is over: replaced, revoked or ended.
    SessionOver,
    /// The sender is over its rate.
    RateLimited,
    /// It names the sender itself.
    ToSelf,
    /// No such member of the party is connected.
    NotConnected,
    /// Too much waits for the same member; the oldest goes.
    QueueFull,
    /// It waited for longer than it is worth.
    Stale,
    /// Its sender was removed from the party while it waited.
    Revoked,
    /// The receiver's connection does not take a frame of this size.
    TooLarge,
    /// The receiver's connection ended while it was being passed on.
    PortClosed,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::SessionOver,
        Self::RateLimited,
        Self::ToSelf,
        Self::NotConnected,
        Self::QueueFull,
        Self::Stale,
        Self::Revoked,
        Self::TooLarge,
        Self::PortClosed,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SessionOver => "session_over",
            Self::RateLimited => "rate_limited",
            Self::ToSelf => "to_self",
            Self::NotConnected => "not_connected",
            Self::QueueFull => "queue_full",
            Self::Stale => "stale",
            Self::Revoked => "revoked",
            Self::TooLarge => "too_large",
            Self::PortClosed => "port_closed",
        }
    }
}
