//! What is kept, as the rules see it.

use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::party::{Member, Party};
use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId};
use lanrage_shared::names::{MemberName, PartyName};
use lanrage_shared::stream::PartySettings;
use uuid::Uuid;

/// A party without its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartyRow {
    pub id: PartyId,
    pub name: PartyName,
    pub host: MemberId,
    /// Membership generation.
    pub epoch: u32,
    /// The epoch its newest secret is of.
    pub secret_epoch: u32,
    /// Bumped by every change; what a caller compares and sets.
    pub version: u64,
    /// Number of the last event.
    pub seq: u64,
    pub persistent: bool,
    pub max_members: u16,
    /// Admits nobody who is not a member.
    pub locked: bool,
    /// Which of the party subnets it has ([`PartyNet::at`]).
    pub net_index: u32,
    pub created_at_ms: u64,
}

/// A member number and the device it is kept for. It stays after the device has left, so that the device finds its
/// addresses again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatRow {
    pub number: MemberId,
    pub device: DeviceId,
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub name: MemberName,
    pub joined_at_ms: u64,
    pub last_seen_ms: u64,
    /// None while the device is a member.
    pub left_at_ms: Option<u64>,
}

/// An invite as the server knows it: neither the code nor the party secret can be told from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRow {
    pub id: Uuid,
    pub party: PartyId,
    pub auth_hash: [u8; 32],
    pub sealed_secret: Vec<u8>,
    /// The epoch of that secret. When the party has a newer one, the invite has ended.
    pub secret_epoch: u32,
    pub expires_at_ms: u64,
    /// None = any number of devices.
    pub max_uses: Option<u32>,
    pub uses: u32,
    pub created_at_ms: u64,
}

/// A device that no invite of a party admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRow {
    pub device: DeviceId,
    pub identity_key: IdentityKey,
    /// What it was called.
    pub name: MemberName,
    pub at_ms: u64,
}

/// A party and everybody who has, or had, a number in it, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartyState {
    pub row: PartyRow,
    /// By number.
    pub seats: Vec<SeatRow>,
}

impl PartyRow {
    /// The party's virtual network.
    pub fn net(&self) -> PartyNet {
        PartyNet::at(self.net_index, self.id)
    }

    /// The part of the party that is not its members.
    pub fn settings(&self) -> PartySettings {
        PartySettings {
            name: self.name.clone(),
            host: self.host,
            persistent: self.persistent,
            max_members: self.max_members,
            locked: self.locked,
            epoch: self.epoch,
            secret_epoch: self.secret_epoch,
            version: self.version,
            net: Some(self.net()),
        }
    }
}

impl SeatRow {
    /// Whether the device is a member now.
    pub fn is_member(&self) -> bool {
        self.left_at_ms.is_none()
    }

    /// When the device was last here, as a member who was connected or as one who left.
    pub fn last_here_ms(&self) -> u64 {
        self.last_seen_ms.max(self.left_at_ms.unwrap_or_default())
    }

    /// The member as others see it, offline: who is connected is not kept in the database.
    pub fn member(&self, net: &PartyNet) -> Member {
        Member {
            id: self.number,
            device: self.device,
            identity_key: self.identity_key,
            device_key: self.device_key,
            name: self.name.clone(),
            virtual_ip: net.member_v4(self.number),
            virtual_ip6: net.member_v6(self.number),
            joined_at_ms: self.joined_at_ms,
            online: false,
            last_seen_ms: self.last_seen_ms,
            presence: None,
        }
    }
}

impl InviteRow {
    /// Whether it lets a newcomer in whose party has a secret of this epoch.
    pub fn admits(&self, secret_epoch: u32, now_ms: u64) -> bool {
        self.secret_epoch >= secret_epoch
            && self.expires_at_ms > now_ms
            && self.max_uses.is_none_or(|most| self.uses < most)
    }
}

impl PartyState {
    /// The seats of those who are members now, by number.
    pub fn members(&self) -> impl Iterator<Item = &SeatRow> {
        self.seats.iter().filter(|seat| seat.is_member())
    }

    /// The seat of a device that is a member now.
    pub fn member_of(&self, device: DeviceId) -> Option<&SeatRow> {
        self.members().find(|seat| seat.device == device)
    }

    /// The host's name, unless the party has lost its host.
    pub fn host_name(&self) -> Option<MemberName> {
        self.members()
            .find(|seat| seat.number == self.row.host)
            .map(|seat| seat.name.clone())
    }

    /// The party as its members see it, everybody offline.
    pub fn party(&self) -> Party {
        let net = self.row.net();
        Party {
            id: self.row.id,
            name: self.row.name.clone(),
            host: self.row.host,
            epoch: self.row.epoch,
            secret_epoch: self.row.secret_epoch,
            version: self.row.version,
            persistent: self.row.persistent,
            max_members: self.row.max_members,
            locked: self.row.locked,
            net,
            created_at_ms: self.row.created_at_ms,
            members: self.members().map(|seat| seat.member(&net)).collect(),
        }
    }
}
