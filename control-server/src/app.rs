//! What every endpoint has at hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::AGE;
use axum::response::{IntoResponseParts, ResponseParts};
use lanrage_shared::api::party::Party;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::PartyEvent;
use lanrage_store::{Changed, Missed, PartyState, SoftWrite, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authority;
use crate::clock::Clock;
use crate::feed::{Feed, FeedMessage};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::operator_token::OperatorToken;
use crate::presence::{Roster, WriteBehind};
use crate::relays::Relays;
use crate::replicas::Replicas;
use crate::routes::health::Readiness;
use crate::routes::stream::Arrivals;
use crate::snapshots::Snapshots;
use crate::tls::Places;

/// The server's parts, shared by all its tasks.
pub struct App {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub authority: Authority,
    pub limits: Limits,
    pub feed: Arc<dyn Feed>,
    pub roster: Roster,
    pub write_behind: Arc<WriteBehind>,
    /// What is read while the database is away.
    pub snapshots: Snapshots,
    pub replicas: Replicas,
    pub relays: Relays,
    /// What relays show.
    pub register_token: OperatorToken,
    pub metrics: Metrics,
    /// Whether people may look at the API in a browser.
    pub swagger_ui: bool,
    /// Who may hold connections.
    pub places: Places,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// Streams that begin.
    pub arrivals: Arrivals,
    pub readiness: Readiness,
    /// Open streams and links; shutting down waits for them.
    pub streams: TaskTracker,
}

/// The parts as axum hands them around.
pub type AppState = Arc<App>;

impl App {
    /// Tells a party's streams what happened to it, and relays when somebody is no longer a member.
    pub fn announce(&self, changed: &Changed) {
        let is_departure = |event: &PartyEvent| matches!(event, PartyEvent::MemberLeft { .. } | PartyEvent::Deleted);
        if changed.events.iter().any(|(_, event)| is_departure(event)) {
            self.relays.announce_revocations();
        }
        self.metrics.events.inc_by(changed.events.len() as u64);
        self.snapshots
            .follow(changed.party, &changed.events, self.clock.uptime_ms());
        for (seq, event) in &changed.events {
            let event = Arc::new(event.clone());
            self.feed
                .publish(changed.party, &FeedMessage::Event { seq: *seq, event });
        }
    }

    /// Takes in what other replicas wrote.
    pub fn take_in(&self, writes: &[SoftWrite]) {
        self.roster.merge(writes);
        self.relays.merge(writes);
    }

    /// Learns which other replicas are there.
    pub fn set_there(&self, there: BTreeSet<ReplicaId>) {
        self.roster.set_there(there.clone());
        self.relays.set_there(there);
    }

    /// A party, for one of its members, with who is connected; as it last was while the database is away.
    pub async fn party_of(&self, party: PartyId, device: DeviceId) -> Result<Seen<Party>, StoreError> {
        match self.store.party(party, device).await {
            Err(error) if error.is_for_now() => {
                let kept = self.snapshots.party(party, device, self.clock.uptime_ms());
                self.last_seen(kept.map(|party| self.with_online(party)), error)
            }
            state => Ok(Seen::now(self.party(&state?))),
        }
    }

    /// The parties of a device, with who is connected; as they last were while the database is away.
    pub async fn parties_of(&self, device: DeviceId) -> Result<Seen<Vec<Party>>, StoreError> {
        let now_ms = self.clock.uptime_ms();
        match self.store.parties_of(device).await {
            Err(error) if error.is_for_now() => {
                let kept = self.snapshots.parties_of(device, now_ms);
                let with_online =
                    |parties: Vec<Party>| parties.into_iter().map(|party| self.with_online(party)).collect();
                self.last_seen(kept.map(with_online), error)
            }
            states => {
                let parties: Vec<Party> = states?.iter().map(|state| self.party(state)).collect();
                let ids = parties.iter().map(|party| party.id).collect();
                self.snapshots.keep_list(device, ids, now_ms);
                Ok(Seen::now(parties))
            }
        }
    }

    /// What an agent missed; while the database is away, if it has the newest secret.
    pub async fn missed(
        &self,
        party: PartyId,
        device: DeviceId,
        since: Option<u64>,
        secret_epoch: u32,
    ) -> Result<Missed, StoreError> {
        let now_ms = self.clock.uptime_ms();
        match self.store.replay(party, device, since, secret_epoch).await {
            Err(error) if error.is_for_now() => {
                let missed = self.snapshots.replay(party, device, since, secret_epoch, now_ms);
                missed.ok_or(error)
            }
            missed => {
                let missed = missed?;
                self.snapshots.keep(&missed.party, missed.seq, now_ms);
                Ok(missed)
            }
        }
    }

    fn last_seen<T>(&self, kept: Option<T>, why: StoreError) -> Result<Seen<T>, StoreError> {
        let value = kept.ok_or(why)?;
        let age = Age(Some(self.store.silent_for()));
        Ok(Seen { value, age })
    }

    /// The party as its members see it, with who is connected. It is what they read while the database is away, too.
    pub fn party(&self, state: &PartyState) -> Party {
        let party = state.party();
        self.snapshots.keep(&party, state.row.seq, self.clock.uptime_ms());
        self.with_online(party)
    }

    /// The same party, with who is connected.
    pub fn with_online(&self, mut party: Party) -> Party {
        let online = self.roster.online(party.id);
        for member in &mut party.members {
            if let Some(presence) = online.get(&member.id) {
                member.online = true;
                member.presence = presence.clone();
            }
        }
        party
    }
}

/// What was read.
pub struct Seen<T> {
    pub value: T,
    pub age: Age,
}

impl<T> Seen<T> {
    fn now(value: T) -> Self {
        Self { value, age: Age(None) }
    }
}

/// For how long an answer may have been out of date, when it does not come from the database: `Age` (RFC 9111 §5.1).
pub struct Age(Option<Duration>);

impl IntoResponseParts for Age {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        if let Some(age) = self.0 {
            parts.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
        }
        Ok(parts)
    }
}
