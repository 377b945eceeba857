//! What every endpoint has at hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use lanrage_shared::api::party::Party;
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::stream::PartyEvent;
use lanrage_store::{Changed, PartyState, SoftWrite, Store};
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
use crate::routes::stream::Arrivals;
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
    pub replicas: Replicas,
    pub relays: Relays,
    /// What relays show.
    pub register_token: OperatorToken,
    pub metrics: Metrics,
    /// Who may hold connections.
    pub places: Places,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// Streams that begin.
    pub arrivals: Arrivals,
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

    /// The party as its members see it, with who is connected.
    pub fn party(&self, state: &PartyState) -> Party {
        let mut party = state.party();
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
