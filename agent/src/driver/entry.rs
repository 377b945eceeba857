//! Whether a party may be entered as a server describes it.

use ipnet::Ipv4Net;
use lanrage_shared::addr::in_the_way;
use lanrage_shared::keys::DeviceSecret;

use crate::api::Failure;
use crate::io::netwatch::{self, LocalAddress};
use crate::state::PartyCache;

/// Refuses a party that no honest server describes, or that does not list this device.
pub(super) fn check(cache: &PartyCache, device: &DeviceSecret) -> Result<(), Failure> {
    let protocol = |why: String| Failure::new("server_protocol", why);
    cache.party.check().map_err(|why| {
        protocol(format!(
            "the server describes a party that cannot be: {why}; this PC stays out of it"
        ))
    })?;
    let me = cache.party.members.iter().find(|member| member.id == cache.me);
    match me {
        Some(me) if me.device_key == device.public() => Ok(()),
        _ => Err(protocol(
            "the server admitted this device but does not list it; try again".to_owned(),
        )),
    }
}

/// The first of this PC's own networks that the party would hide.
pub(super) fn lan_in_the_way(cache: &PartyCache, interfaces: &[LocalAddress]) -> Option<Ipv4Net> {
    in_the_way(&cache.party.net.v4, &netwatch::lans(interfaces)).copied()
}

/// Refuses a party that would hide one of this PC's own networks; an honest server does not even offer it.
pub(super) fn check_lans(cache: &PartyCache, interfaces: &[LocalAddress]) -> Result<(), Failure> {
    lan_in_the_way(cache, interfaces).map_or(Ok(()), |lan| {
        Err(Failure::new(
            "address_conflict",
            format!(
                "your own network {lan} overlaps the party's network {}: change your router's network, or ask the host to run `lanrage doctor --fix --avoid {lan}`",
                cache.party.net.v4
            ),
        ))
    })
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::party::Member;
    use lanrage_shared::ids::{DeviceId, IdentityKey};

    use super::*;
    use crate::state::example_party;

    #[test]
    fn a_party_that_hides_a_lan_or_lists_somebody_else_is_not_entered() {
        let device = DeviceSecret::from_bytes([1; 32]);
        let mut cache = example_party();
        let identity_key = IdentityKey([2; 32]);
        cache.party.members.push(Member {
            id: cache.me,
            device: DeviceId::of(&identity_key),
            identity_key,
            device_key: device.public(),
            name: "Ada".parse().unwrap(),
            virtual_ip: cache.party.net.member_v4(cache.me),
            virtual_ip6: cache.party.net.member_v6(cache.me),
            joined_at_ms: 0,
            online: true,
            last_seen_ms: 0,
            presence: None,
        });
        assert!(check(&cache, &device).is_ok());
        let somebody = DeviceSecret::from_bytes([9; 32]);
        assert_eq!(check(&cache, &somebody).unwrap_err().code, "server_protocol");
        let mut stolen = cache.clone();
        stolen.party.net.v4 = "0.0.0.0/0".parse().unwrap();
        assert_eq!(check(&stolen, &device).unwrap_err().code, "server_protocol");

        let lan = |prefix| LocalAddress {
            interface: "eth0".to_owned(),
            address: cache.party.net.v4.addr().into(),
            prefix,
            index: 2,
        };
        assert_eq!(check_lans(&cache, &[lan(20)]).unwrap_err().code, "address_conflict");
        assert!(check_lans(&cache, &[lan(8)]).is_ok());
    }
}
