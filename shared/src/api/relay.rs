//! Relays: how members learn of them and get in, and how a relay talks to the control server.
//!
//! A relay keeps one WebSocket to the control server open (`GET /v1/relay-link`, with the operator's register token as bearer
//! token): [`RelayMessage`] up, [`ControlMessage`] down. What was revoked carries a sequence number, so that a relay that was
//! away asks for what it missed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::ids::{IdentityKey, PartyId, Pin, RelayId};

/// Longest a relay token lasts: one hour, in seconds. What was revoked is kept at least as long.
pub const RELAY_TOKEN_LIFETIME_S: u64 = 3600;
/// Largest message on the link, in bytes.
pub const MAX_LINK_MESSAGE: usize = 1024 * 1024;
/// A relay that was not heard of for this long is no longer offered to members: three missed reports, in seconds.
pub const RELAY_STALE_S: u64 = 15;

/// A relay as members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Relay {
    pub id: RelayId,
    /// Where it is, as its operator calls it: `eu-west`.
    pub region: String,
    /// Name or address; none = the host the agent reached the control server at.
    pub host: Option<String>,
    /// UDP (QUIC) and TCP (TLS), the same number.
    pub port: u16,
    /// The key its certificate has to have.
    pub pin: Pin,
    /// How full it is, in percent of its capacity.
    pub load: u8,
}

/// A relay in the answer to `GET /v1/relays`, also when it is not offered because it is about to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedRelay {
    pub id: RelayId,
    pub region: String,
    /// As it last reported; all 0 but the capacity until it does.
    pub health: RelayHealth,
    /// It takes nobody new and is about to stop.
    pub draining: bool,
    /// How long ago it was last heard of, in seconds.
    pub seen_s: u64,
}

/// A member's seat at a relay, as it tells its party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelaySeat {
    pub relay: RelayId,
    /// Round-trip time from the member to the relay, in ms.
    pub rtt_ms: u16,
}

/// Answer to `POST /v1/parties/{id}/relay-tokens`: one token for every relay there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelayTokens {
    pub tokens: Vec<RelayToken>,
    /// When they end, in Unix seconds of the server.
    pub expires_at: u64,
}

/// Lets a member use one relay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelayToken {
    pub relay: RelayId,
    pub token: String,
}

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayToken")
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// A member that must not be let in any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Counts up over all parties of the server.
    pub seq: u64,
    pub party: PartyId,
    /// Tokens of the party from before this epoch admit nobody any more.
    pub epoch: u32,
    /// Who has to go now.
    pub removed: Vec<IdentityKey>,
}

/// How a relay is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RelayHealth {
    pub sessions: u32,
    /// Sessions it takes at most.
    pub capacity: u32,
    /// Percent of its capacity that is used: the larger of sessions and bandwidth.
    pub load: u8,
    /// Packets passed on since it started.
    pub forwarded: u64,
    /// Packets dropped since it started, whatever for.
    pub dropped: u64,
}

/// Relay to control server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RelayMessage {
    /// The first message.
    Register {
        id: RelayId,
        region: String,
        host: Option<String>,
        port: u16,
        pin: Pin,
        capacity: u32,
        /// The last revocation it knows; 0 for none.
        since: u64,
    },
    /// Every few seconds.
    Health { health: RelayHealth },
    /// Everything up to this revocation is in force.
    Applied { seq: u64 },
    /// It takes nobody new and is about to stop.
    Draining,
}

/// Control server to relay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlMessage {
    /// Answer to `Register`. Revocations the relay missed follow.
    Welcome {
        /// The Ed25519 key that relay tokens are signed with (base64url).
        token_key: IdentityKey,
        server_time_ms: u64,
        /// The last revocation there is.
        last_seq: u64,
    },
    Revoked {
        revocation: Revocation,
    },
    /// The link is over.
    Bye {
        error: ApiError,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = RelayToken {
            relay: "fra-1".parse().unwrap(),
            token: "secret".to_owned(),
        };
        let shown = format!("{token:?}");
        assert!(shown.contains("fra-1") && !shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = serde_json::from_str::<RelayMessage>(&text);
            let _ = serde_json::from_str::<ControlMessage>(&text);
        }
    }
}
