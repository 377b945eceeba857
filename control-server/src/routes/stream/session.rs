//! One member's stream, from `Hello` to its end.

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::party::{Party, Services};
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::signal::{MAX_SIGNAL_TEXT, is_sealed_text};
use lanrage_shared::stream::{ClientMessage, PartyEvent, ServerMessage};
use lanrage_store::{Missed, Replay, StoreError};
use tokio::sync::{SemaphorePermit, mpsc, watch};

use super::end::End;
use super::link::{Incoming, Link};
use crate::app::App;
use crate::feed::{EndNotice, FeedMessage, Seat, Subscription};

/// What an agent has, as it says in `Hello`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Number of the last event.
    pub(super) since: Option<u64>,
    /// The epoch of its newest party secret.
    pub(super) secret_epoch: u32,
}

/// Never returns a value: a session ends with its reason.
pub(super) type Never = std::convert::Infallible;

/// Runs a stream until it ends, and takes the member offline.
pub(super) async fn run(
    app: &App,
    device: DeviceId,
    link: &mut Link,
    party: PartyId,
    known: Known,
) -> Result<Never, End> {
    let turn = turn(app).await?;
    let seen = app.party_of(party, device).await?;
    let member = seen.value.member_of(device).ok_or_else(End::not_a_member)?.id;
    // Streams live long, and each would keep its party.
    drop(seen);
    let seat = Seat { party, member };
    if app.store.is_shared() {
        // So that this stream is later than any other of the member's, whatever the replicas' clocks say.
        match app.store.soft_writes_of(party).await {
            Ok(writes) => app.take_in(&writes),
            Err(error) => tracing::debug!(%error, %party, "what other replicas wrote is read later"),
        }
    }
    let subscription = app.feed.subscribe(seat);
    let connection = Connection {
        app,
        seat,
        id: subscription.id,
    };
    app.roster.connect(seat, connection.id);
    let mut session = Session {
        app,
        seat,
        device,
        id: connection.id,
        seq: 0,
        secret_epoch: known.secret_epoch,
        link,
    };
    session.run(subscription, known.since, turn).await
}

/// A turn to read what a stream begins with.
async fn turn(app: &App) -> Result<SemaphorePermit<'_>, End> {
    tokio::select! {
        () = app.shutdown.cancelled() => Err(End::restarting()),
        turn = app.arrivals.turn() => turn.ok_or_else(End::too_many_arrivals),
    }
}

/// A member's place in feed and roster, given up when the session ends, also when its task is dropped.
struct Connection<'a> {
    app: &'a App,
    seat: Seat,
    id: u64,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.app.feed.unsubscribe(self.seat, self.id);
        self.app.roster.disconnect(self.seat, self.id);
    }
}

struct Session<'a> {
    app: &'a App,
    seat: Seat,
    device: DeviceId,
    /// Of the subscription.
    id: u64,
    /// Number of the last event the agent has.
    seq: u64,
    /// The epoch of the newest secret that the agent has or was sent.
    secret_epoch: u32,
    link: &'a mut Link,
}

impl Session<'_> {
    async fn run(
        &mut self,
        subscription: Subscription,
        since: Option<u64>,
        turn: SemaphorePermit<'_>,
    ) -> Result<Never, End> {
        let app = self.app;
        let Subscription {
            mut messages, mut end, ..
        } = subscription;
        let mut services = app.relays.watch_services();
        let welcome = ServerMessage::Welcome {
            me: self.seat.member,
            services: services.borrow_and_update().clone(),
            server_time_ms: app.clock.now_ms(),
        };
        self.link.send(&welcome).await?;
        self.greet(since, turn).await?;
        loop {
            let services = self
                .until_services_change(&mut messages, &mut end, &mut services)
                .await?;
            self.link.send(&ServerMessage::Services { services }).await?;
        }
    }

    /// Passes messages on, both ways, until the operator's services are others. What happens once in a stream's life is waited
    /// for by one future: to take its place in a queue and leave it again with every message costs more than the message.
    async fn until_services_change(
        &mut self,
        messages: &mut mpsc::Receiver<FeedMessage>,
        end: &mut EndNotice,
        services: &mut watch::Receiver<Services>,
    ) -> Result<Services, End> {
        let app = self.app;
        let change = async {
            tokio::select! {
                () = app.shutdown.cancelled() => Err(End::restarting()),
                reason = end.reason() => Err(reason.into()),
                Ok(()) = services.changed() => Ok(services.borrow_and_update().clone()),
            }
        };
        tokio::pin!(change);
        loop {
            tokio::select! {
                change = &mut change => return change,
                Some(message) = messages.recv() => self.pass_on(message).await?,
                incoming = self.link.receive() => self.handle(incoming?).await?,
            }
        }
    }

    /// Brings the agent up to date: the gap and everybody's presence, or a snapshot that has both.
    async fn greet(&mut self, since: Option<u64>, turn: SemaphorePermit<'_>) -> Result<(), End> {
        let missed = self.missed(since).await?;
        drop(turn);
        if missed.party.member_of(self.device).is_none() {
            return Err(End::not_a_member());
        }
        if missed.keeps_opened {
            self.drop_opened_secrets().await;
        }
        let Replay::Events(events) = missed.replay else {
            return self.snapshot(missed.party, missed.seq, missed.secrets).await;
        };
        for (seq, event) in events {
            self.secret_epoch = self.secret_epoch.max(secret_epoch_of(&event));
            self.link.send(&ServerMessage::Event { seq, event }).await?;
        }
        self.seq = missed.seq;
        let online = self.app.roster.online(self.seat.party);
        let me = self.seat.member;
        for other in missed
            .party
            .members
            .iter()
            .map(|member| member.id)
            .filter(|other| *other != me)
        {
            let message = ServerMessage::Presence {
                member: other,
                online: online.contains_key(&other),
                presence: online.get(&other).cloned().flatten(),
            };
            self.link.send(&message).await?;
        }
        Ok(())
    }

    async fn missed(&mut self, since: Option<u64>) -> Result<Missed, StoreError> {
        self.app
            .missed(self.seat.party, self.device, since, self.secret_epoch)
            .await
    }

    /// The agent has these: nobody needs them any more.
    async fn drop_opened_secrets(&mut self) {
        let Seat { party, member } = self.seat;
        let dropped = self.app.store.drop_opened_secrets(party, member, self.secret_epoch);
        if let Err(error) = dropped.await {
            // The next connection repairs it.
            tracing::debug!(%error, %party, "opened secrets are still kept");
        }
    }

    async fn snapshot(&mut self, party: Party, seq: u64, secrets: Vec<SealedSecret>) -> Result<(), End> {
        self.seq = seq;
        self.secret_epoch = self.secret_epoch.max(party.secret_epoch);
        let party = self.app.with_online(party);
        let message = ServerMessage::Snapshot { seq, party, secrets };
        self.link.send(&message).await.map_err(End::from)
    }

    async fn pass_on(&mut self, message: FeedMessage) -> Result<(), End> {
        let message = match message {
            FeedMessage::Event { seq, .. } if seq <= self.seq => return Ok(()),
            FeedMessage::Event { seq, event } if seq == self.seq + 1 => return self.event(seq, (*event).clone()).await,
            FeedMessage::Changed { seq } if seq <= self.seq => return Ok(()),
            FeedMessage::Event { .. } | FeedMessage::Changed { .. } => return self.catch_up().await,
            FeedMessage::Presence {
                member,
                online,
                presence,
            } => ServerMessage::Presence {
                member,
                online,
                presence,
            },
            FeedMessage::Signal { from, sealed } => ServerMessage::Signal { from, sealed },
        };
        self.link.send(&message).await.map_err(End::from)
    }

    /// Events overtook each other on their way here: the store knows their order.
    async fn catch_up(&mut self) -> Result<(), End> {
        let missed = match self.missed(Some(self.seq)).await {
            Err(StoreError::NotFound) => return self.event(self.seq + 1, PartyEvent::Deleted).await,
            missed => missed?,
        };
        let Replay::Events(events) = missed.replay else {
            return match missed.party.member_of(self.device) {
                Some(_) => self.snapshot(missed.party, missed.seq, missed.secrets).await,
                None => Err(End::not_a_member()),
            };
        };
        for (seq, event) in events {
            self.event(seq, event).await?;
        }
        Ok(())
    }

    /// One event, with what of it is this member's business.
    async fn event(&mut self, seq: u64, mut event: PartyEvent) -> Result<(), End> {
        self.seq = seq;
        self.secret_epoch = self.secret_epoch.max(secret_epoch_of(&event));
        if let PartyEvent::SecretChanged { secrets, .. } = &mut event {
            secrets.retain(|secret| secret.to == self.seat.member);
        }
        let over = match &event {
            PartyEvent::MemberLeft { member, .. } => *member == self.seat.member,
            PartyEvent::Deleted => true,
            PartyEvent::MemberJoined { .. } | PartyEvent::Updated { .. } | PartyEvent::SecretChanged { .. } => false,
        };
        self.link.send(&ServerMessage::Event { seq, event }).await?;
        if over { Err(End::not_a_member()) } else { Ok(()) }
    }

    async fn handle(&mut self, incoming: Incoming) -> Result<(), End> {
        match incoming {
            Incoming::TooMany => {
                self.refuse(ErrorCode::RateLimited, "too many messages: slow down")
                    .await
            }
            Incoming::Message(ClientMessage::Presence { presence }) => {
                self.app.roster.update(self.seat, self.id, presence);
                self.app.metrics.presence_updates.inc();
                Ok(())
            }
            Incoming::Message(ClientMessage::Signal { sealed, .. }) if sealed.len() > MAX_SIGNAL_TEXT => {
                self.refuse(ErrorCode::TooLarge, "this signal is too long").await
            }
            Incoming::Message(ClientMessage::Signal { sealed, .. }) if !is_sealed_text(&sealed) => {
                self.refuse(ErrorCode::BadRequest, "this is not a sealed signal").await
            }
            Incoming::Message(ClientMessage::Signal { to, .. }) if to == self.seat.member => {
                self.refuse(ErrorCode::BadRequest, "a signal goes to another member")
                    .await
            }
            Incoming::Message(ClientMessage::Signal { to, sealed }) => {
                let to = Seat {
                    member: to,
                    ..self.seat
                };
                let from = self.seat.member;
                self.app.metrics.signals.inc();
                let signal = FeedMessage::Signal {
                    from,
                    sealed: sealed.clone(),
                };
                if !self.app.feed.send(to, signal) {
                    self.app.replicas.signal(from, to, sealed);
                }
                Ok(())
            }
            Incoming::Message(ClientMessage::Hello { .. }) => {
                self.refuse(ErrorCode::BadRequest, "hello is only the first message")
                    .await
            }
            Incoming::Malformed(sentence) => self.refuse(ErrorCode::BadRequest, &sentence).await,
        }
    }

    async fn refuse(&mut self, code: ErrorCode, sentence: &str) -> Result<(), End> {
        self.app.metrics.refuse_message(code);
        if !self.link.may_refuse() {
            return Err(End::too_many_refusals());
        }
        let error = ApiError::new(code, sentence);
        self.link
            .send(&ServerMessage::Refused { error })
            .await
            .map_err(End::from)
    }
}

/// The epoch of the secret an event brings; 0 when it brings none.
fn secret_epoch_of(event: &PartyEvent) -> u32 {
    match event {
        PartyEvent::SecretChanged { epoch, .. } => *epoch,
        _ => 0,
    }
}
