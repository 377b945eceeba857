//! The change feed: how what happens in one place reaches every stream of a party.
//!
//! It is a hint, not the truth. Events carry the party's sequence numbers, so a stream notices when one is missing or late and
//! reads the gap from the store; presence is soft; a signal that does not arrive is repeated by its sender.

mod memory;

use std::sync::Arc;

use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::PartyEvent;
use tokio::sync::{mpsc, watch};

pub use self::memory::MemoryFeed;

/// Messages that may wait for one stream. A member who reads so slowly that more pile up is better served by a fresh start.
/// Two hundred joins at once make four hundred.
pub const QUEUE: usize = 1024;

/// A member of a party, as the feed addresses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    pub party: PartyId,
    pub member: MemberId,
}

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedMessage {
    /// The party changed.
    Event { seq: u64, event: Arc<PartyEvent> },
    /// The party has changed up to this number; the store knows how.
    Changed { seq: u64 },
    /// A member came, went, or said something about itself.
    Presence {
        member: MemberId,
        online: bool,
        presence: Option<Presence>,
    },
    /// For one member only.
    Signal { from: MemberId, sealed: String },
}

impl FeedMessage {
    /// Whether a member has to hear of it: of itself it knows.
    fn concerns(&self, member: MemberId) -> bool {
        !matches!(self, Self::Presence { member: of, .. } if *of == member)
    }
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The same member subscribed again.
    Superseded,
    /// More than [`QUEUE`] messages were waiting.
    TooSlow,
}

/// Carries messages to streams.
pub trait Feed: Send + Sync + 'static {
    /// Everything published to the party and sent to the member from now on, in order. Ends the member's former subscription.
    fn subscribe(&self, seat: Seat) -> Subscription;
    /// Ends a subscription unless another has taken its place.
    fn unsubscribe(&self, seat: Seat, id: u64);
    /// To every stream of a party that it concerns: what a member says of itself goes to the others.
    fn publish(&self, party: PartyId, message: &FeedMessage);
    /// To one member. Says whether it has a stream here.
    fn send(&self, to: Seat, message: FeedMessage) -> bool;
    /// Ends a subscription because the member has a later one elsewhere.
    fn supersede(&self, seat: Seat, id: u64);
    /// Whether a party has streams here.
    fn has(&self, party: PartyId) -> bool;
    /// Parties that have streams here.
    fn parties(&self) -> Vec<PartyId>;
}

/// One stream's end of the feed.
#[derive(Debug)]
pub struct Subscription {
    /// Tells it from the same member's other subscriptions; grows.
    pub id: u64,
    /// What was published or sent.
    pub messages: mpsc::Receiver<FeedMessage>,
    /// Says when it is over.
    pub end: EndNotice,
}

/// Says when and why a subscription is over.
#[derive(Debug)]
pub struct EndNotice(pub(crate) watch::Receiver<Option<Ended>>);

impl EndNotice {
    /// Waits until the feed ends the subscription.
    pub async fn reason(&mut self) -> Ended {
        let reason = self.0.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // Unsubscribed without a reason: nobody is left to be told one.
            None => std::future::pending().await,
        }
    }
}
