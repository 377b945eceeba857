use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_shared::names::{MemberName, PartyName};
use lanrage_store::PartyState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;

/// A party as its server's operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminParty {
    pub id: PartyId,
    pub name: PartyName,
    pub members: u64,
    /// How many of them are connected.
    pub online: u64,
    pub max_members: u16,
    pub host: MemberId,
    pub epoch: u32,
    pub version: u64,
    /// Stays when its last member leaves.
    pub persistent: bool,
    #[schema(value_type = String, example = "10.70.3.0/24")]
    pub network: Ipv4Net,
    pub created_at_ms: u64,
}

/// A member as its server's operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminMember {
    pub id: MemberId,
    pub name: MemberName,
    pub device: DeviceId,
    #[schema(value_type = String, format = "ipv4")]
    pub virtual_ip: Ipv4Addr,
    pub is_host: bool,
    /// Its agent is connected.
    pub online: bool,
    pub last_seen_ms: u64,
    pub joined_at_ms: u64,
    /// Of its agent, as far as it told.
    pub agent_version: Option<String>,
}

impl AdminParty {
    pub(super) fn of(app: &App, state: &PartyState) -> Self {
        let row = &state.row;
        Self {
            id: row.id,
            name: row.name.clone(),
            members: state.members().count() as u64,
            online: app.roster.online(row.id).len() as u64,
            max_members: row.max_members,
            host: row.host,
            epoch: row.epoch,
            version: row.version,
            persistent: row.persistent,
            network: row.net().v4,
            created_at_ms: row.created_at_ms,
        }
    }
}

impl AdminMember {
    pub(super) fn all_of(app: &App, state: &PartyState) -> Vec<Self> {
        let party = app.party(state);
        let members = party.members.into_iter().map(|member| Self {
            id: member.id,
            name: member.name,
            device: member.device,
            virtual_ip: member.virtual_ip,
            is_host: member.id == party.host,
            online: member.online,
            last_seen_ms: member.last_seen_ms,
            joined_at_ms: member.joined_at_ms,
            agent_version: member.presence.map(|presence| presence.agent_version),
        });
        members.collect()
    }
}
