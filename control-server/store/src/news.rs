//! What replicas tell one another. All of it is a hint that saves waiting: what is lost is read from the database a second
//! later; a signal is repeated by its sender.

use async_trait::async_trait;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{MemberId, PartyId};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::soft::SoftWrite;

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub from: ReplicaId,
    pub news: News,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// A party has these new events. After its last one it is gone.
    Events { party: PartyId, first: u64, last: u64 },
    /// Relays have to be told of somebody.
    Revoked,
    /// Soft writes of the sender are in the database.
    Saved,
    /// The sender is there. It listens for this itself, to know that it hears.
    Here,
    /// For whoever has the stream of `to`. `number` counts the sender's signals, because one may come by two ways.
    Signal {
        number: u64,
        party: PartyId,
        from: MemberId,
        to: MemberId,
        sealed: String,
    },
    /// Soft writes of the sender. Too large for some ways.
    Wrote { writes: Vec<SoftWrite> },
}

/// Hears what other replicas, and this one, tell by way of the database.
#[async_trait]
pub trait Listener: Send {
    /// The next piece of news. After an error something may be missed, and nothing more comes.
    async fn next(&mut self) -> Result<Notice>;
}
