//! Whom somebody means: a member by name or virtual address.

use std::net::IpAddr;

use lanrage_shared::api::party::Member;

use crate::api::Failure;

/// The one member with this address or name: as it is written if anybody is called exactly that, else whatever the case.
pub(super) fn choose<'a>(target: &str, members: &[&'a Member]) -> Result<&'a Member, Failure> {
    if let Ok(ip) = target.parse::<IpAddr>() {
        let has_it = |member: &&&Member| ip == member.virtual_ip || ip == member.virtual_ip6;
        return members
            .iter()
            .find(has_it)
            .copied()
            .ok_or_else(|| nobody(target, members));
    }
    let target = target.trim();
    let called = |is_called: &dyn Fn(&str) -> bool| -> Vec<&'a Member> {
        let found = members.iter().filter(|member| is_called(member.name.as_str()));
        found.copied().collect()
    };
    let mut found = called(&|name| name == target);
    if found.is_empty() {
        found = called(&|name| name.to_lowercase() == target.to_lowercase());
    }
    match found[..] {
        [] => Err(nobody(target, members)),
        [member] => Ok(member),
        _ => {
            let addresses: Vec<String> = found.iter().map(|member| member.virtual_ip.to_string()).collect();
            Err(Failure::new(
                "ambiguous_peer",
                format!(
                    "{} members are called {target:?}; use the address instead: {}",
                    found.len(),
                    addresses.join(", ")
                ),
            ))
        }
    }
}

fn nobody(target: &str, members: &[&Member]) -> Failure {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let known = if names.is_empty() {
        "nobody yet".to_owned()
    } else {
        names.join(", ")
    };
    Failure::new(
        "no_such_peer",
        format!("no peer is called or has the address {target:?}; the party has {known}"),
    )
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId};

    use super::*;

    fn member(number: u16, name: &str) -> Member {
        let identity_key = IdentityKey([0; 32]);
        Member {
            id: MemberId(number),
            device: DeviceId::of(&identity_key),
            identity_key,
            device_key: DeviceKey([0; 32]),
            name: name.parse().unwrap(),
            virtual_ip: [10, 64, 0, u8::try_from(number).unwrap()].into(),
            virtual_ip6: "fd00::1".parse().unwrap(),
            joined_at_ms: 0,
            online: true,
            last_seen_ms: 0,
            presence: None,
        }
    }

    #[test]
    fn a_name_means_one_member_or_an_error() {
        let members = [
            member(1, "ben"),
            member(2, "Ben"),
            member(3, "Cara"),
            member(4, "Cara"),
            member(5, "Dan"),
        ];
        let members: Vec<&Member> = members.iter().collect();
        let number = |target: &str| choose(target, &members).map(|found| found.id.0);
        assert_eq!(number("Ben").unwrap(), 2);
        assert_eq!(number("ben").unwrap(), 1);
        assert_eq!(number(" DAN ").unwrap(), 5);
        assert_eq!(number("10.64.0.4").unwrap(), 4);
        assert!(number("Eve").unwrap_err().message.contains("ben, Ben, Cara, Cara, Dan"));
        assert!(number("BEN").unwrap_err().message.contains("10.64.0.1, 10.64.0.2"));
        assert!(number("Cara").unwrap_err().message.contains("10.64.0.3, 10.64.0.4"));
    }
}
