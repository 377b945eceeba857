//! What an agent believes of a party that a server describes.
//!
//! A server decides who is a member, but not what the numbers mean: networks, addresses and device ids follow from ids and
//! keys, so an agent that recomputes them cannot be made to route somebody else's addresses into the tunnel.

use ipnet::Ipv4Net;

use super::party::{Member, Party};
use crate::addr::{FIRST_MEMBER, LAST_MEMBER, PartyNet};
use crate::ids::{DeviceId, MemberId};

/// A description that no honest server gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Implausible {
    #[error("{0} is not the network of this party")]
    Network(Ipv4Net),
    #[error("member {0} has an address or a device id that is not its own")]
    Member(MemberId),
    #[error("member {0} has the number or the keys of another member")]
    Twins(MemberId),
}

impl Party {
    /// Refuses a network or members that cannot be this party's.
    pub fn check(&self) -> Result<(), Implausible> {
        if !self.net.is_of(self.id) {
            return Err(Implausible::Network(self.net.v4));
        }
        for (index, member) in self.members.iter().enumerate() {
            member.check(&self.net)?;
            if self.members[..index].iter().any(|other| other.is_twin(member)) {
                return Err(Implausible::Twins(member.id));
            }
        }
        Ok(())
    }

    /// Refuses a member that cannot join this party: it is not what it says, or has another member's keys.
    pub fn check_newcomer(&self, newcomer: &Member) -> Result<(), Implausible> {
        newcomer.check(&self.net)?;
        let mut others = self.members.iter().filter(|member| member.id != newcomer.id);
        match others.any(|other| other.is_twin(newcomer)) {
            true => Err(Implausible::Twins(newcomer.id)),
            false => Ok(()),
        }
    }
}

impl Member {
    fn check(&self, net: &PartyNet) -> Result<(), Implausible> {
        let own = (FIRST_MEMBER..=LAST_MEMBER).contains(&self.id.0)
            && self.virtual_ip == net.member_v4(self.id)
            && self.virtual_ip6 == net.member_v6(self.id)
            && self.device == DeviceId::of(&self.identity_key);
        own.then_some(()).ok_or(Implausible::Member(self.id))
    }

    fn is_twin(&self, other: &Self) -> bool {
        self.id == other.id || self.identity_key == other.identity_key || self.device_key == other.device_key
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{DeviceKey, IdentityKey, PartyId};

    fn party() -> Party {
        let id = PartyId(Uuid::from_u128(7));
        let net = PartyNet::at(900, id);
        let member = |number: u8| {
            let number16 = MemberId(u16::from(number));
            let identity_key = IdentityKey([number; 32]);
            Member {
                id: number16,
                device: DeviceId::of(&identity_key),
                identity_key,
                device_key: DeviceKey([number; 32]),
                name: "Eve".parse().unwrap(),
                virtual_ip: net.member_v4(number16),
                virtual_ip6: net.member_v6(number16),
                joined_at_ms: 0,
                online: true,
                last_seen_ms: 0,
                presence: None,
            }
        };
        Party {
            id,
            name: "Friday".parse().unwrap(),
            host: MemberId(1),
            epoch: 1,
            secret_epoch: 1,
            version: 1,
            persistent: false,
            max_members: 64,
            locked: false,
            net,
            created_at_ms: 0,
            members: vec![member(1), member(2)],
        }
    }

    #[test]
    fn an_honest_description_is_believed() {
        let party = party();
        assert_eq!(party.check(), Ok(()));
        assert_eq!(party.check_newcomer(&party.members[1]), Ok(()), "told twice");
    }

    #[test]
    fn a_network_outside_the_parties_own_range_is_refused() {
        for (v4, v6) in [
            ("0.0.0.0/0", None),
            ("192.168.1.0/24", None),
            ("10.63.0.0/24", None),
            ("10.70.0.0/16", None),
            ("10.70.0.5/24", None),
            ("10.70.0.0/24", Some("2000::/3")),
            ("10.70.0.0/24", Some("fd00::/64")),
        ] {
            let mut party = party();
            party.members.clear();
            party.net.v4 = v4.parse().unwrap();
            if let Some(v6) = v6 {
                party.net.v6 = v6.parse().unwrap();
            }
            assert_eq!(party.check(), Err(Implausible::Network(party.net.v4)), "{v4} {v6:?}");
        }
    }

    #[test]
    fn a_member_with_an_address_number_or_device_of_its_own_choice_is_refused() {
        let changes: [fn(&mut Member); 6] = [
            |member| member.virtual_ip = [8, 8, 8, 8].into(),
            |member| member.virtual_ip6 = "2001:db8::1".parse().unwrap(),
            |member| member.id = MemberId(0),
            |member| member.id = MemberId(255),
            |member| member.id = MemberId(0x102),
            |member| member.device = DeviceId([1; 16]),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut party = party();
            change(&mut party.members[1]);
            let id = party.members[1].id;
            assert_eq!(party.check(), Err(Implausible::Member(id)), "change {index}");
            assert_eq!(
                party.check_newcomer(&party.members[1].clone()),
                Err(Implausible::Member(id))
            );
        }
    }

    #[test]
    fn two_members_with_one_key_are_refused() {
        let mut party = party();
        party.members[1].device_key = party.members[0].device_key;
        assert_eq!(party.check(), Err(Implausible::Twins(MemberId(2))));
        let twin = party.members.pop().unwrap();
        assert_eq!(party.check_newcomer(&twin), Err(Implausible::Twins(MemberId(2))));
    }
}
