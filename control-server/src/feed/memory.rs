//! The feed of a server that runs alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanrage_shared::ids::{MemberId, PartyId};
use tokio::sync::{mpsc, watch};

use super::{EndNotice, Ended, Feed, FeedMessage, QUEUE, Seat, Subscription};

/// While so much waits for a stream, signals to it are left out, as their senders repeat them: they are the largest messages, and
/// members choose how many there are.
const SIGNALS: usize = QUEUE / 4;

/// Streams of this process, by party and member.
#[derive(Default)]
pub struct MemoryFeed {
    subscribers: Mutex<Subscribers>,
}

#[derive(Default)]
struct Subscribers {
    parties: HashMap<PartyId, BTreeMap<MemberId, Subscriber>>,
    last_id: u64,
}

struct Subscriber {
    id: u64,
    messages: mpsc::Sender<FeedMessage>,
    ended: watch::Sender<Option<Ended>>,
}

impl MemoryFeed {
    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        // Every change below is a single map operation: a panic elsewhere leaves nothing half-done.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed for MemoryFeed {
    fn subscribe(&self, seat: Seat) -> Subscription {
        let mut subscribers = self.lock();
        subscribers.last_id += 1;
        let id = subscribers.last_id;
        let (messages, receiver) = mpsc::channel(QUEUE);
        let (ended, end) = watch::channel(None);
        let party = subscribers.parties.entry(seat.party).or_default();
        if let Some(former) = party.insert(seat.member, Subscriber { id, messages, ended }) {
            former.ended.send_replace(Some(Ended::Superseded));
        }
        Subscription {
            id,
            messages: receiver,
            end: EndNotice(end),
        }
    }

    fn unsubscribe(&self, seat: Seat, id: u64) {
        let mut subscribers = self.lock();
        if let Some(party) = subscribers.parties.get_mut(&seat.party) {
            if party.get(&seat.member).is_some_and(|current| current.id == id) {
                party.remove(&seat.member);
            }
            if party.is_empty() {
                subscribers.parties.remove(&seat.party);
            }
        }
    }

    fn publish(&self, party: PartyId, message: &FeedMessage) {
        if let Some(members) = self.lock().parties.get_mut(&party) {
            members.retain(|member, subscriber| !message.concerns(*member) || subscriber.deliver(message.clone()));
        }
    }

    fn send(&self, to: Seat, message: FeedMessage) -> bool {
        let mut subscribers = self.lock();
        let Some(members) = subscribers.parties.get_mut(&to.party) else {
            return false;
        };
        let delivered = members.get(&to.member).map(|subscriber| subscriber.deliver(message));
        if delivered == Some(false) {
            members.remove(&to.member);
        }
        delivered.is_some()
    }

    fn supersede(&self, seat: Seat, id: u64) {
        let mut subscribers = self.lock();
        if let Some(members) = subscribers.parties.get_mut(&seat.party)
            && members.get(&seat.member).is_some_and(|current| current.id == id)
            && let Some(former) = members.remove(&seat.member)
        {
            former.ended.send_replace(Some(Ended::Superseded));
        }
    }

    fn has(&self, party: PartyId) -> bool {
        self.lock().parties.contains_key(&party)
    }

    fn parties(&self) -> Vec<PartyId> {
        self.lock().parties.keys().copied().collect()
    }
}

impl Subscriber {
    /// Queues a message; false when the subscription is over. A signal that finds too much waiting is left out.
    fn deliver(&self, message: FeedMessage) -> bool {
        let waiting = QUEUE - self.messages.capacity();
        if matches!(message, FeedMessage::Signal { .. }) && waiting >= SIGNALS {
            return true;
        }
        match self.messages.try_send(message) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.ended.send_replace(Some(Ended::TooSlow));
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn seat(member: u16) -> Seat {
        Seat {
            party: PartyId(Uuid::nil()),
            member: MemberId(member),
        }
    }

    fn signal(n: usize) -> FeedMessage {
        FeedMessage::Signal {
            from: MemberId(1),
            sealed: n.to_string(),
        }
    }

    #[tokio::test]
    async fn signals_arrive_in_order_and_only_where_they_are_sent() {
        let feed = MemoryFeed::default();
        let (mut two, mut three) = (feed.subscribe(seat(2)), feed.subscribe(seat(3)));
        feed.send(seat(2), signal(1));
        feed.send(seat(2), signal(2));
        feed.send(seat(9), signal(3));
        assert_eq!(two.messages.recv().await, Some(signal(1)));
        assert_eq!(two.messages.recv().await, Some(signal(2)));
        assert!(three.messages.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_a_member_says_of_itself_goes_to_the_others() {
        let feed = MemoryFeed::default();
        let (mut two, mut three) = (feed.subscribe(seat(2)), feed.subscribe(seat(3)));
        let said = FeedMessage::Presence {
            member: MemberId(2),
            online: true,
            presence: None,
        };
        feed.publish(seat(2).party, &said);
        assert_eq!(three.messages.recv().await, Some(said));
        assert!(two.messages.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_second_subscription_ends_the_first_and_outlives_its_end() {
        let feed = MemoryFeed::default();
        let mut first = feed.subscribe(seat(2));
        let mut second = feed.subscribe(seat(2));
        assert_eq!(first.end.reason().await, Ended::Superseded);
        feed.unsubscribe(seat(2), first.id);
        feed.publish(seat(2).party, &signal(1));
        assert_eq!(second.messages.recv().await, Some(signal(1)));
    }

    #[tokio::test]
    async fn signals_alone_do_not_fill_the_queue_of_who_does_not_read() {
        let feed = MemoryFeed::default();
        let mut slow = feed.subscribe(seat(2));
        for n in 0..2 * QUEUE {
            assert!(feed.send(seat(2), signal(n)));
        }
        let waiting = std::iter::from_fn(|| slow.messages.try_recv().ok()).count();
        assert_eq!(waiting, SIGNALS);
        assert!(feed.send(seat(2), signal(0)));
        assert_eq!(slow.messages.recv().await, Some(signal(0)));
    }

    #[tokio::test]
    async fn a_slow_reader_is_ended_and_others_are_not() {
        let feed = MemoryFeed::default();
        let (mut slow, mut quick) = (feed.subscribe(seat(2)), feed.subscribe(seat(3)));
        for seq in 0..=QUEUE as u64 {
            let message = FeedMessage::Changed { seq };
            feed.publish(seat(2).party, &message);
            assert_eq!(quick.messages.recv().await, Some(message));
        }
        assert_eq!(slow.end.reason().await, Ended::TooSlow);
    }
}
