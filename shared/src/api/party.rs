//! Parties and their members.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::invite::{InviteCreated, NewInvite};
use super::presence::Presence;
use super::relay::Relay;
use crate::addr::PartyNet;
use crate::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId};
use crate::names::{MemberName, PartyName};

/// Most members a party takes unless its settings say otherwise.
pub const DEFAULT_MAX_MEMBERS: u16 = 64;
/// Most local networks of a member that are looked at.
pub const MAX_LANS: usize = 16;

/// A party as its members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Party {
    pub id: PartyId,
    pub name: PartyName,
    pub host: MemberId,
    /// Membership generation: bumped when somebody leaves or is removed.
    pub epoch: u32,
    /// The epoch the newest party secret belongs to. While it is behind, the host's agent owes the party a new one.
    #[serde(default)]
    pub secret_epoch: u32,
    /// Bumped by every change of membership or settings; name it in `If-Match`.
    pub version: u64,
    /// Stays when its last member leaves.
    pub persistent: bool,
    pub max_members: u16,
    /// Admits nobody who is not a member.
    #[serde(default)]
    pub locked: bool,
    pub net: PartyNet,
    pub created_at_ms: u64,
    pub members: Vec<Member>,
}

impl Party {
    /// The member that this device is.
    pub fn member_of(&self, device: DeviceId) -> Option<&Member> {
        self.members.iter().find(|member| member.device == device)
    }

    /// Gives the party another network, and its members their addresses in it.
    pub fn move_to(&mut self, net: PartyNet) {
        self.net = net;
        for member in &mut self.members {
            member.virtual_ip = net.member_v4(member.id);
            member.virtual_ip6 = net.member_v6(member.id);
        }
    }
}

/// A device in a party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    pub id: MemberId,
    pub device: DeviceId,
    pub identity_key: IdentityKey,
    pub device_key: DeviceKey,
    pub name: MemberName,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "ipv4"))]
    pub virtual_ip: Ipv4Addr,
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "ipv6"))]
    pub virtual_ip6: Ipv6Addr,
    pub joined_at_ms: u64,
    /// Its agent is connected to the control server.
    pub online: bool,
    /// When it was last connected.
    pub last_seen_ms: u64,
    pub presence: Option<Presence>,
}

/// `POST /v1/parties/{id}/network`, for the host, with `If-Match`: gives the party another subnet, and so everybody another
/// IPv4 address. Answer: [`Party`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MoveParty {
    /// Networks that the new subnet avoids, [`MAX_LANS`] at most, besides the one the party has.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::Ipv4Network>))]
    pub avoid: Vec<Ipv4Net>,
}

/// `POST /v1/parties`. Answer: [`Joined`]. The creator is the first member and the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateParty {
    pub name: PartyName,
    pub member_name: MemberName,
    #[serde(default)]
    pub persistent: bool,
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 254))]
    pub max_members: Option<u16>,
    /// The creator's own IPv4 networks; the party's subnet avoids them.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::Ipv4Network>))]
    pub lans: Vec<Ipv4Net>,
    /// The first invite.
    pub invite: NewInvite,
}

/// `PATCH /v1/parties/{id}` with `If-Match: "<version>"`, host only. Absent fields stay. Answer: [`Party`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateParty {
    pub name: Option<PartyName>,
    pub persistent: Option<bool>,
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 254))]
    pub max_members: Option<u16>,
    /// Admits nobody who is not a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// The member that is the host from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<MemberId>,
}

/// `POST /v1/parties/{id}/members/{number}/remove` with `If-Match: "<version>"`, host only. Answer: [`Removed`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// No invite admits the device again, and the one that it came by admits nobody.
    #[serde(default)]
    pub ban: bool,
}

/// The party without the member that was removed, one epoch on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Removed {
    #[serde(flatten)]
    pub party: Party,
    /// Base64url of the hash of the invite that a ban ended ([`NewInvite::auth_hash`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_invite: Option<String>,
}

/// A device that no invite admits: one of the answers to `GET /v1/parties/{id}/bans`, host only. `DELETE
/// /v1/parties/{id}/bans/{device}` lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ban {
    pub device: DeviceId,
    /// What it was called.
    pub name: MemberName,
    pub banned_at_ms: u64,
}

/// Answer to creating a party and to redeeming an invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Joined {
    pub party: Party,
    /// The stream's sequence number this state belongs to.
    pub seq: u64,
    pub me: MemberId,
    pub services: Services,
    /// After redeeming: the party secret as the inviter sealed it (base64url).
    pub sealed_secret: Option<String>,
    /// After creating: the invite.
    pub invite: Option<InviteCreated>,
}

/// What else the server's operator runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Services {
    /// STUN servers, each of one IP address and two UDP ports.
    pub stun: Vec<StunServer>,
    #[serde(default)]
    pub relays: Vec<Relay>,
}

/// One STUN server (RFC 8489) with the second port RFC 5780 asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StunServer {
    /// Name or address; none = the host the agent reached the control server at.
    pub host: Option<String>,
    pub port: u16,
    pub second_port: u16,
}
