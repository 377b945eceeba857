//! Conflicting soft state: what two servers of one database wrote at once, without having seen one another's write.

use serde::{Deserialize, Serialize};

use super::presence::Presence;
use crate::ids::MemberId;

/// An entry of `GET /v1/parties/{id}/conflicts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SoftConflict {
    pub member: MemberId,
    /// What holds, on every server.
    pub winner: SoftSide,
    pub loser: SoftSide,
}

/// One of the two writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SoftSide {
    /// The number of the server's run.
    pub replica: u64,
    /// When, by the servers' common logical clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    pub online: bool,
    pub presence: Option<Presence>,
}
