//! What the host decides about the party.

use ipnet::Ipv4Net;
use lanrage_shared::names::{MemberName, PartyName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A change of the party's settings; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyChange {
    #[serde(default)]
    pub name: Option<PartyName>,
    #[serde(default)]
    pub max_members: Option<u16>,
    #[serde(default)]
    pub persistent: Option<bool>,
    #[serde(default)]
    pub locked: Option<bool>,
}

impl PartyChange {
    /// Whether anything changes.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Result of `party`, `lock`, `unlock` and `transfer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsReport {
    pub party: PartyName,
    pub host: Option<MemberName>,
    pub is_host: bool,
    /// Nobody new gets in.
    pub locked: bool,
    /// It stays when the last member leaves.
    pub persistent: bool,
    pub members: usize,
    pub max_members: u16,
    pub network: Ipv4Net,
}

/// Result of `invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitesReport {
    /// The one that was revoked.
    pub revoked: Option<Uuid>,
    /// Those that still let somebody in.
    pub invites: Vec<InviteLine>,
}

/// One invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteLine {
    pub id: Uuid,
    pub expires_in_s: u64,
    /// How many devices it admits; none = any number.
    pub max_uses: Option<u32>,
    /// How many it has admitted.
    pub uses: u32,
}

/// Result of `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedReport {
    pub party: PartyName,
}
