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

    use super::*;

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
