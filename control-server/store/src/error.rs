//! Why the store did not do what it was asked.

use ipnet::Ipv4Net;
use lanrage_shared::ids::MemberId;
use lanrage_shared::names::{MemberName, PartyName};

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why an operation failed. Nothing was changed, unless it is [`StoreError::Uncertain`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such party, or none that this device may know of.
    #[error("there is no such party")]
    NotFound,
    /// The device is not in the party.
    #[error("this device is not a member of the party")]
    NotAMember,
    /// Only the host may do this.
    #[error("only the host may do this")]
    NotHost {
        /// Who the host is, unless the party has lost its host.
        host: Option<MemberName>,
    },
    /// The party changed since the caller looked.
    #[error("the party has changed; its version is now {current_version}")]
    Conflict {
        /// The version it has now.
        current_version: u64,
    },
    /// The party's secret is of another epoch than the one that an invite was sealed with.
    #[error("the party's secret is of epoch {current_secret_epoch}")]
    OtherSecret {
        /// The version it has now.
        current_version: u64,
        /// The epoch of its newest secret.
        current_secret_epoch: u32,
    },
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another transaction was in the way; the same operation will succeed when tried again. [`crate::Store`] does.
    #[error("another change was in the way")]
    Contended,
    /// Others have been changing the same for too long.
    #[error("others are changing the same for too long")]
    Busy,
    /// The database cannot be reached or cannot write now.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The database did not say whether it made the changes lasting.
    #[error("the database did not say whether it was done: {0}")]
    Uncertain(String),
    /// The database answered something it never should; the text is for the log.
    #[error("the database failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether what was to be read is there and cannot be had now.
    pub fn is_for_now(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy)
    }
}

/// A rule of LANrage that the request broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no party has this invite: check the code, or ask the host for a new one")]
    InviteUnknown,
    #[error("this invite has expired: ask the host for a new one")]
    InviteExpired,
    #[error("this invite has been used up: ask the host for a new one")]
    InviteUsed,
    #[error("this invite has ended, because somebody has left the party since: ask the host for a new one")]
    InviteEnded,
    #[error("an invite with this code exists already: make another one")]
    InviteExists,
    #[error("this party has too many invites: wait until some expire")]
    TooManyInvites,
    #[error("{party} is full ({max_members} members): ask the host to raise the limit or to remove somebody")]
    PartyFull { party: PartyName, max_members: u16 },
    #[error(
        "your own network {lan} overlaps the party's network {party}: change your router's network, or ask the host to run `lanrage doctor --fix --avoid {lan}`"
    )]
    AddressConflict { lan: Ipv4Net, party: Ipv4Net },
    #[error(
        "another agent of this PC or of its LAN is in this party already, for {party} is the party's own network: use that agent or let it leave; if there is none, change your router's network"
    )]
    AddressTaken { party: Ipv4Net },
    #[error(
        "another member of this party has this device's WireGuard key: if it is a copy of this agent, start this one with a new --state-dir, else ask the host to ban it"
    )]
    KeyTaken,
    #[error("{party} does not admit this device, because its host has banned it: ask the host to lift the ban")]
    Banned { party: PartyName },
    #[error("{party} is locked: ask its host to unlock it")]
    Locked { party: PartyName },
    #[error("this party has no such invite: look at its invites again")]
    NoSuchInvite,
    #[error("this device is not banned from the party: look at its bans again")]
    NotBanned,
    #[error("this party has too many bans: lift some first")]
    TooManyBans,
    #[error("nobody in this party has the number {0}: look at its members again")]
    NoSuchMember(MemberId),
    #[error("the host cannot remove itself: leave the party instead")]
    RemovingHost,
    #[error("the party's epoch is {epoch}: make its secret for that one")]
    OtherEpoch { epoch: u32 },
    #[error("the party has a secret of epoch {epoch} already: make a new one when somebody has left")]
    SecretNotDue { epoch: u32 },
    #[error("a new secret must be sealed once to every other member, and to nobody else")]
    SecretsNotWhole,
    #[error("this device is in too many parties: leave one first")]
    TooManyParties,
}
