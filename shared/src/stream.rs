//! Messages of the control stream, one JSON object per WebSocket text message on `GET /v1/stream`.
//!
//! The agent opens with [`ClientMessage::Hello`]. The server answers with the gap since the number the agent names, or with
//! a snapshot when the gap is too old. Every change of the party after that carries the party's next sequence number.
//! Presence and signals carry none: presence is sent whole after every (re)connect, and a signal that nobody was there to
//! receive is out of date by the time it could be repeated.

use serde::{Deserialize, Serialize};

use crate::addr::PartyNet;
use crate::api::error::ApiError;
use crate::api::party::{Member, Party, Services};
use crate::api::presence::Presence;
use crate::api::secret::SealedSecret;
use crate::ids::{MemberId, PartyId};

/// Largest message either side accepts, in bytes. A snapshot of 254 members takes about 120 KiB.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Agent to server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// The first message: which party, the last sequence number already known, and the epoch of the party secret at hand.
    Hello {
        party: PartyId,
        since: Option<u64>,
        #[serde(default)]
        secret_epoch: u32,
    },
    /// How this member is doing; replaces what it said before.
    Presence { presence: Presence },
    /// Passed on to `to` unread, in order.
    Signal { to: MemberId, sealed: String },
}

/// Server to agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answer to `Hello`, before anything else.
    Welcome {
        me: MemberId,
        services: Services,
        server_time_ms: u64,
    },
    /// The whole party as of `seq`; replaces everything known. `secrets` are those to this member of later epochs than the one
    /// it said hello with, oldest first.
    Snapshot {
        seq: u64,
        party: Party,
        #[serde(default)]
        secrets: Vec<SealedSecret>,
    },
    /// The operator's services changed: a relay came, went, or is fuller than before.
    Services { services: Services },
    /// The party changed; `seq` is one more than the last.
    Event { seq: u64, event: PartyEvent },
    /// A member came online, went offline, or said something new about itself.
    Presence {
        member: MemberId,
        online: bool,
        presence: Option<Presence>,
    },
    /// From another member; only the pair can read it.
    Signal { from: MemberId, sealed: String },
    /// A message of this agent was refused; the stream goes on.
    Refused { error: ApiError },
    /// The server closes the stream; `retry` says whether to come back.
    Bye { error: ApiError, retry: bool },
}

/// What can happen to a party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartyEvent {
    /// Somebody joined, or came back with another key or name.
    MemberJoined { member: Member },
    /// Somebody is no longer a member.
    MemberLeft {
        member: MemberId,
        #[serde(default)]
        how: Departure,
    },
    /// A new party secret. `secrets` holds the one sealed to this member; it is empty for who made it.
    SecretChanged { epoch: u32, secrets: Vec<SealedSecret> },
    /// Name, settings, host, network or version changed. Members are as before, but for addresses that follow from the network.
    Updated { party: PartySettings },
    /// The party is no more.
    Deleted,
}

/// How somebody ceased to be a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    #[default]
    Left,
    Kicked,
    Banned,
    /// Not seen for too long.
    #[serde(other)]
    Forgotten,
}

/// The part of a [`Party`] that is not its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartySettings {
    pub name: crate::names::PartyName,
    pub host: MemberId,
    pub persistent: bool,
    pub max_members: u16,
    #[serde(default)]
    pub locked: bool,
    pub epoch: u32,
    #[serde(default)]
    pub secret_epoch: u32,
    pub version: u64,
    /// Its network; every member's addresses follow from it. None: as before (an older server).
    #[serde(default)]
    pub net: Option<PartyNet>,
}

impl Party {
    /// Changes with an event. False when the party is no more.
    #[must_use]
    pub fn follow(&mut self, event: &PartyEvent) -> bool {
        match event {
            PartyEvent::MemberJoined { member } => {
                self.members
                    .retain(|known| known.id != member.id && known.device != member.device);
                self.members.push(member.clone());
                self.members.sort_by_key(|member| member.id);
            }
            PartyEvent::MemberLeft { member, .. } => self.members.retain(|known| known.id != *member),
            PartyEvent::SecretChanged { epoch, .. } => self.secret_epoch = *epoch,
            PartyEvent::Updated { party } => self.adopt(party),
            PartyEvent::Deleted => return false,
        }
        true
    }

    /// Takes these settings over, and moves to their network.
    pub fn adopt(&mut self, settings: &PartySettings) {
        // Named one by one, so that none is forgotten.
        let PartySettings {
            name,
            host,
            persistent,
            max_members,
            locked,
            epoch,
            secret_epoch,
            version,
            net,
        } = settings;
        self.name.clone_from(name);
        self.host = *host;
        self.persistent = *persistent;
        self.max_members = *max_members;
        self.locked = *locked;
        self.epoch = *epoch;
        self.secret_epoch = *secret_epoch;
        self.version = *version;
        if let Some(net) = net {
            self.move_to(*net);
        }
    }
}

/// A stream message that is not one.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("a message of {0} bytes is over the limit of {MAX_MESSAGE}")]
    TooLong(usize),
    #[error("not a message of this stream: {0}")]
    Malformed(#[from] serde_json::Error),
}

macro_rules! message {
    ($name:ident) => {
        impl $name {
            /// Reads one message.
            pub fn parse(text: &str) -> Result<Self, StreamError> {
                if text.len() > MAX_MESSAGE {
                    return Err(StreamError::TooLong(text.len()));
                }
                Ok(serde_json::from_str(text)?)
            }

            /// The message as JSON text.
            pub fn to_text(&self) -> String {
                serde_json::to_string(self).expect("a stream message is plain data")
            }
        }
    };
}
message!(ClientMessage);
message!(ServerMessage);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::ids::{DeviceId, DeviceKey, IdentityKey};

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = ClientMessage::parse(&text);
            let _ = ServerMessage::parse(&text);
        }

        #[test]
        fn near_messages_are_parsed_or_refused(
            kind in "(hello|presence|signal|event|snapshot|welcome|bye)", key in "[a-z]{1,8}", value in "\\PC{0,20}",
        ) {
            let text = serde_json::json!({"type": kind, "to": 1, (key): value}).to_string();
            let _ = ClientMessage::parse(&text);
            let _ = ServerMessage::parse(&text);
        }
    }

    fn member(number: u16, key: u8, net: &PartyNet) -> Member {
        let identity_key = IdentityKey([key; 32]);
        Member {
            id: MemberId(number),
            device: DeviceId::of(&identity_key),
            identity_key,
            device_key: DeviceKey([key; 32]),
            name: "Eve".parse().unwrap(),
            virtual_ip: net.member_v4(MemberId(number)),
            virtual_ip6: net.member_v6(MemberId(number)),
            joined_at_ms: 0,
            online: false,
            last_seen_ms: 0,
            presence: None,
        }
    }

    fn party() -> Party {
        let id = PartyId(Uuid::from_u128(7));
        let net = PartyNet::at(900, id);
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
            members: vec![member(1, 1, &net), member(3, 3, &net)],
        }
    }

    #[test]
    fn members_come_go_and_come_back_in_the_order_of_their_numbers() {
        let mut party = party();
        let numbers = |party: &Party| party.members.iter().map(|member| member.id.0).collect::<Vec<_>>();
        let joins = |member| PartyEvent::MemberJoined { member };
        let net = party.net;
        assert!(party.follow(&joins(member(2, 2, &net))));
        assert_eq!(numbers(&party), [1, 2, 3]);
        // With another key, and with another number.
        assert!(party.follow(&joins(member(2, 9, &net))));
        assert_eq!(party.members[1].device_key, DeviceKey([9; 32]));
        assert!(party.follow(&joins(member(4, 9, &net))));
        assert_eq!(numbers(&party), [1, 3, 4]);
        let how = Departure::Left;
        assert!(party.follow(&PartyEvent::MemberLeft {
            member: MemberId(3),
            how
        }));
        assert_eq!(numbers(&party), [1, 4]);
        assert!(!party.follow(&PartyEvent::Deleted));
    }

    #[test]
    fn settings_are_taken_over_whole_and_addresses_follow_the_network() {
        let mut followed = party();
        let mut wanted = Party {
            name: "Saturday".parse().unwrap(),
            host: MemberId(3),
            epoch: 2,
            secret_epoch: 3,
            version: 4,
            persistent: true,
            max_members: 5,
            locked: true,
            ..party()
        };
        let mut settings = PartySettings {
            name: wanted.name.clone(),
            host: wanted.host,
            persistent: wanted.persistent,
            max_members: wanted.max_members,
            locked: wanted.locked,
            epoch: wanted.epoch,
            secret_epoch: wanted.secret_epoch,
            version: wanted.version,
            net: None,
        };
        followed.adopt(&settings);
        assert_eq!(followed, wanted, "an older server does not name the network");
        let net = PartyNet::at(901, wanted.id);
        settings.net = Some(net);
        assert!(followed.follow(&PartyEvent::Updated { party: settings }));
        wanted.move_to(net);
        assert_eq!(followed, wanted);
        assert_eq!(followed.members[1].virtual_ip, net.member_v4(MemberId(3)));
        let secrets = Vec::new();
        assert!(followed.follow(&PartyEvent::SecretChanged { epoch: 9, secrets }));
        assert_eq!(followed.secret_epoch, 9);
    }

    #[test]
    fn a_message_names_its_type() {
        let text = ClientMessage::Signal {
            to: MemberId(3),
            sealed: "x".into(),
        }
        .to_text();
        assert_eq!(text, r#"{"type":"signal","to":3,"sealed":"x"}"#);
    }
}
