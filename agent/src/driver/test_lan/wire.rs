//! What agents say to each other during a test: JSON in a UDP datagram between their virtual addresses, inside the tunnel. It is
//! taken out before the TUN. Any program on a member's PC could say the same, so nothing it says may do harm: only groups and ports
//! that games may use are listened on and sent to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use data_encoding::HEXLOWER;
use lanrage_agent_core::broadcast::{Rejection, is_for_all, is_for_games};
use lanrage_agent_core::ip::{self, Header};
use lanrage_shared::ids::MemberId;
use serde::{Deserialize, Serialize};

/// Both ports of these datagrams: TCP's port multiplexer (RFC 1078), which never was anything over UDP.
const PORT: u16 = 1;
/// They begin like this.
const BEGINNING: &[u8] = b"lanrage test 1 ";
/// Ways of one test.
pub const MOST_WAYS: usize = 4;

/// A way to look for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawTarget", into = "RawTarget")]
pub struct Target {
    group: Option<IpAddr>,
    port: u16,
}

#[derive(Serialize, Deserialize)]
struct RawTarget {
    group: Option<IpAddr>,
    port: u16,
}

/// Not a way in which games look for servers.
#[derive(Debug, thiserror::Error)]
#[error("games do not look for servers there")]
pub struct NoWay;

impl Target {
    /// By multicast to a group, or by broadcast.
    pub fn new(group: Option<IpAddr>, port: u16) -> Result<Self, NoWay> {
        let is_group = group.is_none_or(|group| group.is_multicast() && is_for_all(group));
        if !is_group || !is_for_games(port) {
            return Err(NoWay);
        }
        Ok(Self { group, port })
    }

    /// None: by broadcast.
    pub fn group(&self) -> Option<IpAddr> {
        self.group
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl TryFrom<RawTarget> for Target {
    type Error = NoWay;

    fn try_from(raw: RawTarget) -> Result<Self, NoWay> {
        Self::new(raw.group, raw.port)
    }
}

impl From<Target> for RawTarget {
    fn from(Target { group, port }: Target) -> Self {
        Self { group, port }
    }
}

/// What one agent says to another. Everything may be said again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Listen on these, all of them.
    Begin { test: u64, targets: Vec<Target> },
    /// It listens, but for these of them, by their number.
    Ready { test: u64, taken: Vec<u8> },
    /// Send a marked packet to each.
    Send { test: u64 },
    /// What was heard?
    Ask { test: u64 },
    /// It is over, and the ports are free again.
    End { test: u64 },
    /// For each target, in order.
    Told { test: u64, results: Vec<Told> },
}

/// What one PC knows of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Whose packets a program on that PC heard, and whose came in through the tunnel.
    pub heard: Members,
    pub arrived: Members,
    pub sent: Sent,
}

/// What became of a PC's own packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// It never came to the tunnel.
    #[default]
    Nowhere,
    /// Passed on to everybody.
    ToAll,
    /// Not passed on, for this reason.
    Refused(Rejection),
}

impl Sent {
    /// What the bridge says of it.
    pub fn of(outcome: Option<Result<(), Rejection>>) -> Self {
        match outcome {
            None => Self::Nowhere,
            Some(Ok(())) => Self::ToAll,
            Some(Err(rejection)) => Self::Refused(rejection),
        }
    }
}

/// Members, as a bit each: a party's largest list fits in a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Members(pub BTreeSet<MemberId>);

impl From<Members> for String {
    fn from(Members(members): Members) -> Self {
        let mut bits = [0_u8; 32];
        for MemberId(number) in members {
            if let Some(byte) = bits.get_mut(usize::from(number / 8)) {
                *byte |= 1 << (number % 8);
            }
        }
        HEXLOWER.encode(&bits)
    }
}

impl TryFrom<String> for Members {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bits = HEXLOWER.decode(text.as_bytes())?;
        let numbers = (0..bits.len().min(32) as u16 * 8).filter(|at| bits[usize::from(at / 8)] & 1 << (at % 8) != 0);
        Ok(Self(numbers.map(MemberId).collect()))
    }
}

/// The packet that carries a message.
pub fn packet(from: Ipv4Addr, to: Ipv4Addr, message: &Message) -> Option<BytesMut> {
    let json = serde_json::to_vec(message).ok()?;
    ip::udp((from.into(), PORT), (to.into(), PORT), &[BEGINNING, &json].concat())
}

/// Who sent it, and the message, if a packet carries one.
pub fn read(packet: &[u8]) -> Option<(IpAddr, Message)> {
    let header = Header::read(packet)?;
    if header.ports(packet)? != (PORT, PORT) {
        return None;
    }
    let json = header.body(packet).get(8..)?.strip_prefix(BEGINNING)?;
    Some((header.source, serde_json::from_slice(json).ok()?))
}

/// Whether it is worth reading: every packet from the tunnel is asked.
pub fn may_be(packet: &[u8]) -> bool {
    // IPv4 without options, UDP, both ports.
    matches!(packet, [0x45, _, _, _, _, _, _, _, _, ip::UDP, ..]) && packet.get(20..24) == Some(&[0, 1, 0, 1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANNA: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
    const BEN: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);

    #[test]
    fn messages_arrive_as_they_were_said_and_the_longest_fits() {
        let everybody = Members((1..=254).map(MemberId).collect());
        let told = Told {
            heard: everybody.clone(),
            arrived: everybody,
            sent: Sent::Refused(Rejection::PortNotAllowed),
        };
        let messages = [
            Message::Begin {
                test: u64::MAX,
                targets: vec![
                    Target::new(Some("ff04::696f:7175:616b:6533".parse().unwrap()), 27960).unwrap();
                    MOST_WAYS
                ],
            },
            Message::Told {
                test: u64::MAX,
                results: vec![told; MOST_WAYS],
            },
        ];
        for message in messages {
            let packet = packet(ANNA, BEN, &message).unwrap();
            assert!(packet.len() <= 1280, "{}", packet.len());
            assert!(may_be(&packet));
            assert_eq!(read(&packet), Some((ANNA.into(), message)));
        }
    }

    #[test]
    fn nobody_can_have_a_pc_send_where_games_do_not_look_for_servers() {
        let target = |group: &str, port: u16| {
            let group = Some(group)
                .filter(|group| !group.is_empty())
                .map(|group| format!("\"{group}\""));
            let json = format!("{{\"group\":{},\"port\":{port}}}", group.unwrap_or("null".to_owned()));
            serde_json::from_str::<Target>(&json)
        };
        for (group, port) in [
            ("203.0.113.10", 9999),
            ("127.0.0.1", 9999),
            ("255.255.255.255", 9999),
            ("ff01::1", 9999),
            ("2001:db8::1", 9999),
            ("", 0),
            ("", 67),
            ("", 1900),
            ("224.0.0.251", 5353),
        ] {
            assert!(target(group, port).is_err(), "{group} {port}");
        }
        assert!(target("", 27960).is_ok() && target("224.0.2.60", 4445).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (may_be(&bytes), read(&bytes));
            let carried = ip::udp((ANNA.into(), PORT), (BEN.into(), PORT), &[BEGINNING, &bytes].concat());
            let _ = carried.and_then(|packet| read(&packet));
        }

        #[test]
        fn members_are_a_bit_each(numbers in proptest::collection::btree_set(0u16..256, 0..256)) {
            let members = Members(numbers.into_iter().map(MemberId).collect());
            prop_assert_eq!(Members::try_from(String::from(members.clone())).unwrap(), members);
        }
    }
}
