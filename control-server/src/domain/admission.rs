//! Whether a device that shows a valid invite gets in, and as which number.

use ipnet::Ipv4Net;
use lanrage_shared::addr::in_the_way;
use lanrage_shared::api::party::MAX_LANS;
use lanrage_shared::ids::{DeviceId, MemberId};
use lanrage_store::{PartyRow, Refusal, SeatRow};

use super::ipam;

/// Admits a device whose own networks are `lans`.
pub fn admit(party: &PartyRow, seats: &[SeatRow], device: DeviceId, lans: &[Ipv4Net]) -> Result<MemberId, Refusal> {
    let net = party.net();
    let lans = &lans[..lans.len().min(MAX_LANS)];
    if let Some(lan) = in_the_way(&net.v4, lans).map(|lan| lan.trunc()) {
        return Err(if lan == net.v4 {
            // Hardly ever somebody's home network: an agent on the same PC has the party's network on its interface.
            Refusal::AddressTaken { party: net.v4 }
        } else {
            Refusal::AddressConflict { lan, party: net.v4 }
        });
    }
    let full = Refusal::PartyFull {
        party: party.name.clone(),
        max_members: party.max_members,
    };
    if seats.iter().filter(|seat| seat.is_member()).count() >= usize::from(party.max_members) {
        return Err(full);
    }
    ipam::choose_number(party.id, device, seats).ok_or(full)
}
