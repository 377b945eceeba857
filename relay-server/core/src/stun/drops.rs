//! Why a datagram got no answer.

/// Why a datagram got no answer. The order is the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The source port is 0, or the source address cannot be one host's.
    Unanswerable,
    /// It claims to come from the server itself.
    OwnAddress,
    /// The source has used up its budget of this second.
    RateLimited,
    /// Not one whole STUN message with the magic cookie.
    Malformed,
    /// A STUN message, but not a binding request.
    NotARequest,
    /// The request leaves no room for an answer of at most its own length.
    NoRoom,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 6] = [
        Self::Unanswerable,
        Self::OwnAddress,
        Self::RateLimited,
        Self::Malformed,
        Self::NotARequest,
        Self::NoRoom,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unanswerable => "unanswerable",
            Self::OwnAddress => "own_address",
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::NotARequest => "not_a_request",
            Self::NoRoom => "no_room",
        }
    }
}
