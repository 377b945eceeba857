//! Which virtual addresses a party and its members get.
//!
//! Both choices begin at a place that follows from the ids, so the same party and device get the same addresses again on a
//! fresh server where they can, and step on from there until nothing is in the way. Member numbers are sticky: the store keeps
//! a seat after its device has left, and only a party that is out of numbers gives the longest-gone device's to another.

use ipnet::Ipv4Net;
use lanrage_shared::addr::{FIRST_MEMBER, LAST_MEMBER, PARTY_SUBNETS, PartyNet, in_the_way, overlap};
use lanrage_shared::api::party::MAX_LANS;
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_store::SeatRow;
use sha2::{Digest, Sha256};

/// The index ([`PartyNet::v4_at`]) of a subnet that is not in the way of the host's own networks, of which the first
/// [`MAX_LANS`] count: too few to cover every subnet. Two parties may have the same subnet: they are separate networks.
pub fn choose_subnet(party: PartyId, lans: &[Ipv4Net]) -> u32 {
    subnet_from(hash(b"lanrage subnet v1", &[party.0.as_bytes()]) % PARTY_SUBNETS, lans)
}

/// The same for a party that leaves the subnet of this index: a later one, so that a second move does not lead back to what the
/// first got out of the way of.
pub fn next_subnet(present: u32, lans: &[Ipv4Net]) -> u32 {
    subnet_from((present + 1) % PARTY_SUBNETS, lans)
}

fn subnet_from(first: u32, lans: &[Ipv4Net]) -> u32 {
    let lans = &lans[..lans.len().min(MAX_LANS)];
    let from_first = (0..PARTY_SUBNETS).map(|step| (first + step) % PARTY_SUBNETS);
    let apart = from_first
        .clone()
        .find(|index| lans.iter().all(|lan| !overlap(&PartyNet::v4_at(*index), lan)));
    apart
        .or_else(|| {
            from_first
                .clone()
                .find(|index| in_the_way(&PartyNet::v4_at(*index), lans).is_none())
        })
        .unwrap_or(first)
}

/// The number a device gets in a party: the one kept for it, else the first free one from where its hash points, else the one
/// that has been kept longest for somebody who left. None when members have them all.
pub fn choose_number(party: PartyId, device: DeviceId, seats: &[SeatRow]) -> Option<MemberId> {
    if let Some(kept) = seats.iter().find(|seat| seat.device == device) {
        return Some(kept.number);
    }
    let count = LAST_MEMBER - FIRST_MEMBER + 1;
    let first = hash(b"lanrage member number v1", &[party.0.as_bytes(), &device.0]) % u32::from(count);
    let first = u16::try_from(first).unwrap_or_default();
    let free = (0..count)
        .map(|step| MemberId(FIRST_MEMBER + (first + step) % count))
        .find(|number| seats.iter().all(|seat| seat.number != *number));
    free.or_else(|| {
        let kept = seats.iter().filter_map(|seat| Some((seat.left_at_ms?, seat.number)));
        kept.min().map(|(_, number)| number)
    })
}

fn hash(label: &[u8], parts: &[&[u8]]) -> u32 {
    let mut hasher = Sha256::new().chain_update(label);
    for part in parts {
        hasher.update(part);
    }
    let digest = hasher.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lanrage_shared::ids::{DeviceKey, IdentityKey};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn device(n: u16) -> DeviceId {
        DeviceId::of(&IdentityKey(
            [n.to_be_bytes()[1]; 32].map(|b| b ^ n.to_be_bytes()[0].wrapping_mul(7)),
        ))
    }

    fn seat(number: MemberId, device: DeviceId, left_at_ms: Option<u64>) -> SeatRow {
        SeatRow {
            number,
            device,
            identity_key: IdentityKey([0; 32]),
            device_key: DeviceKey([0; 32]),
            name: "x".parse().unwrap(),
            joined_at_ms: 0,
            last_seen_ms: 0,
            left_at_ms,
        }
    }

    fn party(n: u128) -> PartyId {
        PartyId(Uuid::from_u128(n))
    }

    fn subnet(party: PartyId, lans: &[Ipv4Net]) -> Ipv4Net {
        PartyNet::v4_at(choose_subnet(party, lans))
    }

    proptest! {
        #[test]
        fn a_subnet_is_never_in_the_way_of_the_hosts_networks(
            id: u128, nets in prop::collection::vec((any::<u32>(), 8u8..=32), 0..MAX_LANS),
        ) {
            let lans: Vec<_> = nets
                .into_iter()
                .map(|(base, prefix)| Ipv4Net::new(Ipv4Addr::from((base >> 8) | 10 << 24), prefix).unwrap())
                .collect();
            prop_assert_eq!(in_the_way(&subnet(party(id), &lans), &lans), None);
        }

        #[test]
        fn members_never_share_a_number(id: u128, joins in prop::collection::vec(any::<u16>(), 0..300)) {
            let mut seats: Vec<SeatRow> = Vec::new();
            for n in joins {
                let who = device(n);
                if let Some(number) = choose_number(party(id), who, &seats) {
                    prop_assert!((FIRST_MEMBER..=LAST_MEMBER).contains(&number.0));
                    prop_assert!(seats.iter().all(|seat| seat.number != number || seat.device == who));
                    seats.retain(|seat| seat.device != who);
                    seats.push(seat(number, who, None));
                }
            }
        }

        #[test]
        fn moves_do_not_lead_back(present in 0..PARTY_SUBNETS, first in 0..PARTY_SUBNETS, second in 0..PARTY_SUBNETS) {
            let moved = next_subnet(present, &[PartyNet::v4_at(first)]);
            prop_assert!(moved != present && moved != first);
            let again = next_subnet(moved, &[PartyNet::v4_at(second)]);
            prop_assert!(again != present && again != moved && again != second);
        }

        #[test]
        fn the_first_choice_depends_only_on_who_and_where(id: u128, n: u16) {
            prop_assert_eq!(choose_number(party(id), device(n), &[]), choose_number(party(id), device(n), &[]));
            prop_assert_eq!(choose_subnet(party(id), &[]), choose_subnet(party(id), &[]));
        }
    }

    #[test]
    fn a_wide_network_is_avoided_where_that_leaves_a_choice() {
        for n in 0..50 {
            let half = "10.0.0.0/9".parse().unwrap();
            assert!(!overlap(&subnet(party(n), &[half]), &half));
        }
    }

    #[test]
    fn a_network_that_covers_everything_still_leaves_its_narrow_neighbours_alone() {
        for n in 0..50 {
            let everything = "10.1.2.3/8".parse().unwrap();
            let narrow = subnet(party(n), &[]);
            assert!(!overlap(&subnet(party(n), &[everything, narrow]), &narrow));
        }
    }

    #[test]
    fn a_device_that_comes_back_gets_its_number_again() {
        let seats = [seat(MemberId(77), device(1), Some(5))];
        assert_eq!(choose_number(party(1), device(1), &seats), Some(MemberId(77)));
    }

    #[test]
    fn out_of_numbers_the_longest_gone_gives_up_its_own() {
        let mut seats: Vec<_> = (FIRST_MEMBER..=LAST_MEMBER)
            .map(|n| seat(MemberId(n), DeviceId([u8::try_from(n).unwrap(); 16]), None))
            .collect();
        let newcomer = DeviceId([0xff; 16]);
        assert_eq!(choose_number(party(1), newcomer, &seats), None);
        seats[9].left_at_ms = Some(20);
        seats[5].left_at_ms = Some(10);
        assert_eq!(choose_number(party(1), newcomer, &seats), Some(seats[5].number));
    }
}
