//! Relays that are there, and what both sides are told of each other: members which relays to use, relays whom to part with.
//!
//! A relay keeps a link open (`routes::relay_link`) and reports over it; what it says is soft state, told anew after every
//! reconnect. [`registry`] decides who is offered to members, with those [`elsewhere`], at other replicas. Every change of that
//! goes to every stream of the server. What was revoked is in the store; here it is only announced that there is more of it.

mod elsewhere;
mod own;
mod registration;
mod registry;
mod revocations;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanrage_shared::api::party::{Services, StunServer};
use lanrage_shared::api::relay::{ListedRelay, RelayHealth};
use lanrage_shared::hlc::ReplicaId;
use lanrage_shared::ids::RelayId;
use lanrage_store::{SoftKey, SoftWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::elsewhere::Elsewhere;
pub use self::own::{OwnRelay, OwnRelayError, bind};
pub use self::registration::{Registration, Unsound};
use self::registry::{LinkId, Origin, Registry};
pub use self::registry::{MAX_RELAYS, RegisterError};
pub use self::revocations::Revocations;
use crate::clock::Clock;
use crate::presence::WriteBehind;

/// The relays of a server, shared by its links and streams.
pub struct Relays {
    clock: Arc<dyn Clock>,
    write_behind: Arc<WriteBehind>,
    /// Where members of other replicas reach relays that are at this server's address.
    public_host: Option<String>,
    state: Mutex<State>,
    services: watch::Sender<Services>,
    revoked: watch::Sender<()>,
}

struct State {
    registry: Registry,
    elsewhere: Elsewhere,
    last_link: LinkId,
}

/// A relay's place while its link is open.
#[derive(Debug)]
pub struct RelaySeat {
    pub id: RelayId,
    link: LinkId,
    superseded: CancellationToken,
}

impl RelaySeat {
    /// Resolves when another link has taken this relay's place.
    pub async fn superseded(&self) {
        self.superseded.cancelled().await;
    }
}

impl Relays {
    /// No relay yet; `stun` are the STUN servers of the operator.
    pub fn new(
        stun: Vec<StunServer>,
        replica: ReplicaId,
        clock: Arc<dyn Clock>,
        write_behind: Arc<WriteBehind>,
        public_host: Option<String>,
    ) -> Self {
        let services = Services {
            stun,
            relays: Vec::new(),
        };
        Self {
            clock,
            write_behind,
            public_host,
            state: Mutex::new(State {
                registry: Registry::default(),
                elsewhere: Elsewhere::new(replica),
                last_link: 0,
            }),
            services: watch::Sender::new(services),
            revoked: watch::Sender::new(()),
        }
    }

    /// What members are told now.
    pub fn services(&self) -> Services {
        self.services.borrow().clone()
    }

    /// Says when that changes. Whoever is slow sees the newest only.
    pub fn watch_services(&self) -> watch::Receiver<Services> {
        self.services.subscribe()
    }

    /// There is more in the store that relays have to be told.
    pub fn announce_revocations(&self) {
        self.revoked.send_replace(());
    }

    /// Says when there is.
    pub fn watch_revocations(&self) -> watch::Receiver<()> {
        self.revoked.subscribe()
    }

    /// A relay has registered. It takes the place of its former link.
    pub fn connect(&self, registration: Registration, now_ms: u64) -> Result<RelaySeat, RegisterError> {
        self.take_place(registration, Origin::Linked, now_ms)
    }

    /// The relay in this process is there.
    fn connect_own(&self, registration: Registration) -> Result<RelaySeat, RegisterError> {
        self.take_place(registration, Origin::Own, 0)
    }

    fn take_place(&self, registration: Registration, origin: Origin, now_ms: u64) -> Result<RelaySeat, RegisterError> {
        let id = registration.id.clone();
        let superseded = CancellationToken::new();
        let mut state = self.lock();
        if state.elsewhere.spoken_for(&id).is_some_and(|word| word.own) {
            return Err(RegisterError::NameTakenElsewhere);
        }
        state.last_link += 1;
        let link = state.last_link;
        let former = state
            .registry
            .handle_register(registration, origin, link, superseded.clone(), now_ms)?;
        if let Some(former) = former {
            former.cancel();
        }
        self.publish(&mut state);
        Ok(RelaySeat { id, link, superseded })
    }

    /// A relay says how it is.
    pub fn report(&self, seat: &RelaySeat, health: &RelayHealth, now_ms: u64) {
        let mut state = self.lock();
        state.registry.handle_health(&seat.id, seat.link, health, now_ms);
        self.publish(&mut state);
    }

    /// All there are, by name, as they last reported.
    pub fn list(&self, now_ms: u64) -> Vec<ListedRelay> {
        let state = self.lock();
        let mut listed = state.registry.listed(now_ms);
        listed.extend(state.elsewhere.listed(now_ms));
        listed.sort_by(|one, other| one.id.cmp(&other.id));
        listed.dedup_by(|one, other| one.id == other.id);
        listed
    }

    /// Takes in what other replicas said of relays.
    pub fn merge(&self, writes: &[SoftWrite]) {
        if !writes.iter().any(|write| matches!(write.key, SoftKey::Relay(_))) {
            return;
        }
        let mut state = self.lock();
        state.elsewhere.merge(writes, self.clock.uptime_ms());
        for id in state.elsewhere.names() {
            state.registry.handle_elsewhere(&id);
        }
        self.publish(&mut state);
    }

    /// Learns which other replicas are there.
    pub fn set_there(&self, there: BTreeSet<ReplicaId>) {
        let mut state = self.lock();
        state.elsewhere.set_there(there);
        self.publish(&mut state);
    }

    /// A relay has everything up to this revocation in force.
    pub fn acknowledge(&self, seat: &RelaySeat, seq: u64) {
        self.lock().registry.handle_applied(&seat.id, seat.link, seq);
    }

    /// A relay takes nobody new.
    pub fn drain(&self, seat: &RelaySeat) {
        let mut state = self.lock();
        state.registry.handle_draining(&seat.id, seat.link);
        self.publish(&mut state);
    }

    /// Forgets relays that have been silent for too long.
    pub fn forget_silent(&self, now_ms: u64) {
        let mut state = self.lock();
        for id in state.registry.handle_timeout(now_ms) {
            tracing::warn!(relay = %id, "a relay is silent and no longer offered to members");
        }
        self.publish(&mut state);
    }

    /// The last revocation a relay has in force; none for a relay that is not there.
    pub fn applied(&self, id: &RelayId) -> Option<u64> {
        self.lock().registry.applied(id)
    }

    /// Under the lock, so that the last word is the newest.
    fn publish(&self, state: &mut State) {
        let mut here = state.registry.words();
        for word in here.values_mut() {
            word.relay.host = word.relay.host.take().or_else(|| self.public_host.clone());
        }
        for write in state.elsewhere.say(&here, self.clock.now_ms()) {
            self.write_behind.queue(write);
        }
        self.services.send_if_modified(|services| {
            let mut relays = state.registry.offered();
            relays.extend(state.elsewhere.offered());
            relays.sort_by(|one, other| one.id.cmp(&other.id));
            relays.dedup_by(|one, other| one.id == other.id);
            let changed = services.relays != relays;
            services.relays = relays;
            changed
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
