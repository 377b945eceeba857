//! Sessions with relays: which there are is [`RelayChoice`]'s decision; each is kept by a task of its own ([`session`]).

mod attempt;
mod dialer;
mod session;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use lanrage_agent_core::batch::RelayNumber;
use lanrage_agent_core::engine::OwnRelay;
use lanrage_agent_core::relays::{KnownRelay, RelayChoice, Trouble};
use lanrage_relay_client::{RelayEndpoint, RelaySender};
use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::relay::{Relay, RelayTokens};
use lanrage_shared::ids::{MemberId, PartyId, RelayId};
use lanrage_shared::keys::IdentitySecret;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

use self::dialer::Dialer;
use self::session::{Keeper, Said};
use self::tokens::Tokens;
use super::dataplane::{DataPlane, Network};
use crate::io::control::ControlClient;

/// How often an idle session is kept alive: below the shortest mapping lifetime of home routers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Messages waiting in either direction.
const QUEUE: usize = 256;

/// What the agent's loop hears of the relays.
#[derive(Debug)]
pub enum RelayEvent {
    /// All relays that are offered, and of them the sessions that stand, the home relay first.
    Sessions { known: Vec<KnownRelay>, own: Vec<OwnRelay> },
    /// The relay has no session with this member.
    Undelivered { relay: RelayNumber, member: MemberId },
    /// The tokens at hand are these now.
    Tokens(Option<RelayTokens>),
}

/// What the agent's loop says.
enum Order {
    Offer(Vec<Relay>),
    ForPeers(Vec<RelayId>),
    Epoch,
    NetworkChanged,
    Refresh,
}

/// The sessions of one party. Dropping it ends them.
pub struct Relays {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whose sessions these are.
pub struct Membership {
    pub client: Arc<ControlClient>,
    pub identity: Arc<IdentitySecret>,
    pub party: PartyId,
    pub net: PartyNet,
    /// Tokens of the run before.
    pub tokens: Option<RelayTokens>,
    /// What to add to this PC's clock to get the server's, in ms, until it is measured.
    pub clock_offset_ms: i64,
    /// How far relays were in the run before.
    pub rtts: BTreeMap<RelayId, Duration>,
}

impl Relays {
    /// Starts with none; they come with [`Relays::offer`].
    pub fn start(membership: Membership, data_plane: &DataPlane) -> (Self, mpsc::Receiver<RelayEvent>) {
        let (orders, from_loop) = mpsc::channel(QUEUE);
        let (to_loop, events) = mpsc::channel(QUEUE);
        let (from_sessions, said) = mpsc::channel(QUEUE);
        // Lanes are made here, because a session's task outlives every borrow of the data plane.
        let lanes = data_plane.lanes();
        let mut choice = RelayChoice::new(membership.identity.device_id());
        choice.handle_remembered(&membership.rtts);
        let manager = Manager {
            choice,
            tokens: Arc::new(Tokens::new(&membership, to_loop.clone())),
            membership: Arc::new(membership),
            network: Arc::clone(&data_plane.network),
            lanes,
            endpoint: None,
            offered: Vec::new(),
            unlisted: Vec::new(),
            for_peers: Vec::new(),
            sessions: BTreeMap::new(),
            numbers: Arc::default(),
            moved: watch::Sender::default(),
            from_sessions,
            to_loop,
        };
        let task = tokio::spawn(manager.run(from_loop, said).in_current_span());
        (Self { orders, task }, events)
    }

    /// What the control server offers now.
    pub fn offer(&self, relays: Vec<Relay>) {
        let _ = self.orders.try_send(Order::Offer(relays));
    }

    /// Somebody has left: tokens of before admit nobody any more.
    pub fn handle_epoch(&self) {
        let _ = self.orders.try_send(Order::Epoch);
    }

    /// This PC is on another network, or was away: nobody says so when a session is dead by that.
    pub fn handle_network_change(&self) {
        let _ = self.orders.try_send(Order::NetworkChanged);
    }

    /// Everything is to be looked at anew.
    pub fn refresh(&self) {
        let _ = self.orders.try_send(Order::Refresh);
    }

    /// Relays that lead to peers nothing else leads to.
    pub fn need_for_peers(&self, relays: Vec<RelayId>) {
        let _ = self.orders.try_send(Order::ForPeers(relays));
    }
}

struct Session {
    relay: Relay,
    task: JoinHandle<()>,
    up: Option<Up>,
    /// The relay is about to stop. Packets on their way to it still go through, and nothing new is begun.
    draining: bool,
}

/// A session that stands.
struct Up {
    number: RelayNumber,
    sender: RelaySender,
    rtt: Duration,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    fn is_standing(&self) -> bool {
        self.up.is_some() && !self.draining
    }

    fn is_at(&self, relay: &Relay) -> bool {
        (&self.relay.host, self.relay.port, self.relay.pin) == (&relay.host, relay.port, relay.pin)
    }
}

struct Manager {
    membership: Arc<Membership>,
    tokens: Arc<Tokens>,
    network: Arc<Network>,
    lanes: super::dataplane::Lanes,
    endpoint: Option<RelayEndpoint>,
    choice: RelayChoice,
    offered: Vec<Relay>,
    /// Of the offered, those that the control server does not name any more.
    unlisted: Vec<RelayId>,
    for_peers: Vec<RelayId>,
    sessions: BTreeMap<RelayId, Session>,
    numbers: Arc<AtomicU16>,
    /// Tells the sessions of another network.
    moved: watch::Sender<()>,
    from_sessions: mpsc::Sender<(RelayId, Said)>,
    to_loop: mpsc::Sender<RelayEvent>,
}

impl Manager {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut said: mpsc::Receiver<(RelayId, Said)>) {
        loop {
            let now = Instant::now();
            let next = self.choice.next_change(now).unwrap_or(now + Duration::from_secs(3600));
            let undelivered = tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Offer(relays)) => {
                        self.take_offer(relays);
                        None
                    }
                    Some(Order::ForPeers(relays)) => {
                        self.for_peers = relays;
                        None
                    }
                    Some(Order::NetworkChanged) => {
                        self.choice.handle_moved();
                        self.handle_network_change();
                        None
                    }
                    Some(Order::Refresh) => {
                        // Those that wait before they try again do so now.
                        self.sessions.retain(|_, session| session.up.is_some());
                        self.choice.handle_refresh(now);
                        None
                    }
                    Some(Order::Epoch) => {
                        // Whoever asks for tokens at the moment holds them for as long as the server takes.
                        let tokens = Arc::clone(&self.tokens);
                        tokio::spawn(async move { tokens.forget().await });
                        None
                    }
                    None => return,
                },
                Some((relay, said)) = said.recv() => self.hear(&relay, said),
                () = tokio::time::sleep_until(next.into()) => None,
            };
            let event = match undelivered {
                Some(event) => event,
                None => {
                    let own = self.adjust();
                    let known = self.choice.known();
                    RelayEvent::Sessions { known, own }
                }
            };
            if self.to_loop.send(event).await.is_err() {
                return;
            }
        }
    }

    fn handle_network_change(&self) {
        if let Some(Err(error)) = self.endpoint.as_ref().map(RelayEndpoint::rebind) {
            tracing::warn!(%error, "no new UDP socket for relays");
        }
        self.moved.send_replace(());
    }

    /// A relay that works is not let go of because a control server that has just started does not know it yet.
    fn take_offer(&mut self, mut relays: Vec<Relay>) {
        let missing = |session: &&Session| relays.iter().all(|relay| relay.id != session.relay.id);
        let standing = self.sessions.values().filter(|session| session.is_standing());
        let kept: Vec<Relay> = standing.filter(missing).map(|session| session.relay.clone()).collect();
        self.unlisted = kept.iter().map(|relay| relay.id.clone()).collect();
        relays.extend(kept);
        self.offered.clone_from(&relays);
        self.choice.handle_offer(relays, Instant::now());
    }

    fn hear(&mut self, relay: &RelayId, said: Said) -> Option<RelayEvent> {
        let now = Instant::now();
        let session = self.sessions.get_mut(relay)?;
        match said {
            Said::Up { number, sender, rtt } => {
                tracing::info!(%relay, ?rtt, transport = ?sender.transport(), "connected to a relay");
                session.up = Some(Up { number, sender, rtt });
                session.draining = false;
                self.choice.handle_rtt(relay, rtt, now);
            }
            Said::Rtt(rtt) => {
                if let Some(up) = &mut session.up {
                    up.rtt = rtt;
                    // One that is about to stop still answers.
                    if !session.draining {
                        self.choice.handle_rtt(relay, rtt, now);
                    }
                }
            }
            Said::Draining => {
                tracing::info!(%relay, "the relay is about to stop; moving away");
                self.choice.handle_failure(relay, Trouble::Draining, now);
                // It goes on passing packets for a while, so without another it is used to the end.
                if self
                    .sessions
                    .iter()
                    .any(|(id, other)| id != relay && other.is_standing())
                {
                    self.sessions.get_mut(relay)?.draining = true;
                }
            }
            Said::Down(why) => {
                tracing::warn!(%relay, reason = %why, "no session with the relay");
                session.up = None;
                self.choice.handle_failure(relay, Trouble::Unreachable(why), now);
                if self.unlisted.contains(relay) {
                    self.offered.retain(|offered| offered.id != *relay);
                    self.choice.handle_offer(self.offered.clone(), now);
                }
            }
            Said::Undelivered { member } => {
                let relay = session.up.as_ref()?.number;
                return Some(RelayEvent::Undelivered { relay, member });
            }
        }
        None
    }

    /// Begins and ends sessions as the choice is now; gives those that stand, the home relay first.
    fn adjust(&mut self) -> Vec<OwnRelay> {
        let wanted = self.choice.wanted(&self.for_peers, Instant::now());
        // Two stay until the new ones stand, so that a change of mind leaves nobody without.
        let standing = |id: &RelayId| self.sessions.get(id).is_some_and(Session::is_standing);
        let stands = wanted.used.iter().any(|relay| standing(&relay.id));
        if wanted.used.is_empty() || stands {
            self.sessions.retain(|id, _| wanted.contains(id));
        }
        for relay in wanted.used.iter().chain(&wanted.held) {
            // It may have come back elsewhere, or with another key.
            self.sessions
                .retain(|id, session| *id != relay.id || session.is_at(relay));
            if !self.sessions.contains_key(&relay.id) {
                self.begin(relay);
            }
        }
        let senders = self.sessions.values().filter_map(|session| {
            let up = session.up.as_ref()?;
            Some((up.number, up.sender.clone()))
        });
        self.network.set_relays(senders.collect::<HashMap<_, _>>());
        let ranked = wanted.used.iter().map(|relay| &relay.id);
        let others = self.sessions.keys().filter(|id| !stands && !wanted.is_used(id));
        let own = ranked.chain(others).filter_map(|id| {
            let session = self.sessions.get(id).filter(|session| session.is_standing())?;
            let up = session.up.as_ref()?;
            Some(OwnRelay {
                number: up.number,
                id: id.clone(),
                rtt_ms: up.rtt.as_secs_f64() * 1000.0,
            })
        });
        own.collect()
    }

    fn begin(&mut self, relay: &Relay) {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => match RelayEndpoint::bind_any(KEEP_ALIVE) {
                Ok(endpoint) => self.endpoint.insert(endpoint).clone(),
                Err(error) => {
                    tracing::warn!(%error, "no UDP socket for relays");
                    return;
                }
            },
        };
        let dialer = Dialer {
            relay: relay.clone(),
            membership: Arc::clone(&self.membership),
            tokens: Arc::clone(&self.tokens),
            endpoint,
        };
        let keeper = Keeper::new(
            dialer,
            self.lanes.lane(),
            Arc::clone(&self.numbers),
            self.moved.subscribe(),
            self.from_sessions.clone(),
        );
        let session = Session {
            relay: relay.clone(),
            task: tokio::spawn(keeper.run().in_current_span()),
            up: None,
            draining: false,
        };
        self.sessions.insert(relay.id.clone(), session);
    }
}
