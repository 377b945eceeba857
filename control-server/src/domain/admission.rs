//! Whether a device that shows a valid invite gets in, and as which number.

use ipnet::Ipv4Net;
use lanrage_shared::api::party::MAX_LANS;
use lanrage_shared::ids::{DeviceId, MemberId};
use lanrage_store::{PartyRow, Refusal, SeatRow};

use super::ipam;

/// Admits a device whose own networks are `lans`, of which the first [`MAX_LANS`] count.
pub fn admit(party: &PartyRow, seats: &[SeatRow], device: DeviceId, lans: &[Ipv4Net]) -> Result<MemberId, Refusal> {
    let net = party.net();
    if let Some(lan) = lans.iter().take(MAX_LANS).find(|lan| net.overlaps(&[**lan])) {
        return Err(Refusal::AddressConflict {
            lan: lan.trunc(),
            party: net.v4,
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
