//! The agent's loop: one task that owns the party and hears everything, so that nothing needs a lock.

mod commands;
mod games;

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_agent_core::games::{GameLibrary, Tuning};
use lanrage_agent_core::sleep::SleepWatch;
use tokio::sync::{mpsc, oneshot, watch};

use super::adapter::AdapterKeeper;
use super::command::{Command, CurrentParty};
use super::dataplane::{DataPlane, FromNetwork};
use super::entry;
use super::games::GamesNow;
use super::party::{Outcome, PartySession};
use super::pings::Pings;
use super::relays::RelayEvent;
use super::report;
use super::services::Lookup;
use super::stream::StreamEvent;
use super::test_lan::TestLan;
use crate::api::{DeviceReport, Failure, JoinedReport, ServerAddress};
use crate::io::control::ControlClient;
use crate::io::netwatch::{LocalAddress, adapters};
use crate::platform;
use crate::state::{Farewell, Settings, StateDir};

/// How often WireGuard's timers run and traffic is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Datagrams taken from the network's queue at a time.
const BATCH: usize = 64;

/// Where the loop's inputs come from.
pub struct Inputs {
    pub commands: mpsc::Receiver<Command>,
    pub arrivals: mpsc::Receiver<FromNetwork>,
    pub interfaces: watch::Receiver<Vec<LocalAddress>>,
    /// Changes when the same addresses are on another network.
    pub network: watch::Receiver<()>,
    /// Changes when the system announces something of interfaces or routes.
    pub routes: watch::Receiver<()>,
    pub port_mapping: watch::Receiver<Option<SocketAddrV4>>,
    /// What is played on this PC.
    pub games: watch::Receiver<Arc<GamesNow>>,
    pub stop: oneshot::Receiver<()>,
}

/// The agent's loop.
pub struct Agent {
    pub adapter: AdapterKeeper,
    pub data_plane: DataPlane,
    pub device: DeviceReport,
    notices: Vec<String>,
    session: Option<PartySession>,
    /// What servers still have to be told.
    farewells: Vec<Farewell>,
    stream: Option<mpsc::Receiver<StreamEvent>>,
    relays: Option<mpsc::Receiver<RelayEvent>>,
    services: Lookup,
    pings: Pings,
    sleep: SleepWatch,
    test_lan: TestLan,
    settings: Settings,
    /// The servers whose latency is watched.
    servers: watch::Sender<Vec<ServerAddress>>,
    games: Arc<GameLibrary>,
    /// What running games have changed.
    tuned: Tuning,
    /// Who waits for the first word from the control stream.
    waiting: Vec<oneshot::Sender<()>>,
    // Last: whoever waits for the directory to be free finds the interface gone, too.
    pub state: StateDir,
}

impl Agent {
    pub fn new(
        state: StateDir,
        adapter: AdapterKeeper,
        data_plane: DataPlane,
        device: DeviceReport,
        servers: watch::Sender<Vec<ServerAddress>>,
    ) -> Self {
        let notices = state.take_notices();
        for notice in &notices {
            tracing::warn!("{notice}");
        }
        Self {
            state,
            adapter,
            data_plane,
            device,
            notices,
            session: None,
            farewells: Vec::new(),
            stream: None,
            relays: None,
            services: Lookup::default(),
            pings: Pings::default(),
            sleep: SleepWatch::default(),
            test_lan: TestLan::default(),
            settings: Settings::default(),
            servers,
            games: Arc::default(),
            tuned: Tuning::default(),
            waiting: Vec::new(),
        }
    }

    /// Goes back into the party this PC was in before it restarted.
    pub fn resume(&mut self, inputs: &Inputs) -> Result<(), Failure> {
        self.farewells = self.state.load_farewells()?;
        self.settings = self.state.load_settings()?;
        self.tell_servers();
        self.games = Arc::clone(&inputs.games.borrow().library);
        self.apply_bridge();
        let Some(mut cache) = self.state.load_party()? else {
            self.notices.extend(self.state.take_notices());
            return Ok(());
        };
        // Another one was asked for, or the former one was taken.
        if cache.udp_port != self.device.port {
            cache.udp_port = self.device.port;
            self.state.save_party(&cache)?;
        }
        self.notices.extend(self.state.take_notices());
        tracing::info!(party = %cache.party.id, "back in the party of before");
        let identity = self.state.identity();
        let client = ControlClient::new(
            cache.server.clone(),
            Arc::clone(&identity.identity),
            identity.device.public(),
        );
        if let Some(lan) = entry::lan_in_the_way(&cache, &inputs.interfaces.borrow()) {
            self.notices.push(format!(
                "this PC's network {lan} overlaps the party's {}, so one of them is hard to reach; `lanrage doctor` says what to do",
                cache.party.net.v4
            ));
        }
        let current = CurrentParty {
            cache,
            client: Arc::new(client),
        };
        self.enter(current, inputs).map(drop)
    }

    /// Runs until told to stop.
    pub async fn run(mut self, mut inputs: Inputs) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                _ = &mut inputs.stop => break,
                command = inputs.commands.recv() => match command {
                    None | Some(Command::Down) => break,
                    Some(command) => self.handle_command(command, &inputs),
                },
                event = next(&mut self.stream) => match event {
                    Some(event) => self.handle_stream(event, &inputs),
                    None => self.stream = None,
                },
                event = next(&mut self.relays) => match event {
                    Some(event) => self.with_session(|session, data_plane, _| session.handle_relays(event, data_plane)),
                    None => self.relays = None,
                },
                endpoints = self.services.found() => {
                    self.with_session(|session, _, now| session.engine.handle_stun_servers(endpoints, now));
                }
                Ok(()) = inputs.routes.changed() => self.adapter.handle_change(Instant::now()),
                Ok(()) = inputs.interfaces.changed() => {
                    self.adapter.handle_change(Instant::now());
                    let interfaces = inputs.interfaces.borrow_and_update().clone();
                    self.data_plane.set_adapters(adapters(&interfaces));
                    let addresses = own_addresses(&interfaces, self.device.port);
                    self.with_session(|session, _, now| session.handle_interfaces(addresses, now));
                }
                Ok(()) = inputs.network.changed() => {
                    self.with_session(|session, _, now| session.handle_network_change(now));
                }
                Ok(()) = inputs.port_mapping.changed() => {
                    let mapped = inputs.port_mapping.borrow_and_update().map(SocketAddr::V4);
                    self.with_session(|session, _, now| session.engine.handle_port_mapping(mapped, now));
                }
                Ok(()) = inputs.games.changed() => {
                    let games = Arc::clone(&inputs.games.borrow_and_update());
                    self.handle_games(&games);
                }
                _ = tick.tick() => {
                    self.data_plane.tick();
                    let now = Instant::now();
                    if let Some(sleep) = self.sleep.handle_look(now, platform::uptime()) {
                        self.with_session(|session, data_plane, now| session.handle_sleep(sleep, data_plane, now));
                    }
                    if let Some(session) = &mut self.session {
                        session.handle_traffic(&self.data_plane, now);
                    }
                    self.pings.end_late(self.session.as_ref(), now);
                    self.test_lan.handle_timeout(now);
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    self.adapter.handle_timeout(Instant::now());
                    self.with_session(|session, _, now| session.engine.handle_timeout(now));
                }
                // Last, and in batches: a flood from the network delays nothing else.
                count = inputs.arrivals.recv_many(&mut arrived, BATCH) => if count > 0 {
                    self.handle_network(&mut arrived);
                },
            }
            self.save_if_due(Instant::now());
            self.services.start_if_wanted(self.session.as_mut());
        }
        self.save();
        tracing::info!("the agent stops");
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let engine = self
            .session
            .as_ref()
            .and_then(|session| session.engine.poll_timeout(now))
            .map(|(at, _)| at);
        let wakes = [engine, self.adapter.poll_timeout()];
        let first = wakes.into_iter().flatten().min();
        first.unwrap_or(now + Duration::from_secs(60))
    }

    fn with_session(&mut self, work: impl FnOnce(&mut PartySession, &DataPlane, Instant)) {
        if let Some(session) = &mut self.session {
            let _in_party = session.span.clone().entered();
            work(session, &self.data_plane, Instant::now());
            session.engine.handle_timeout(Instant::now());
            session.carry_out(&self.data_plane);
        }
    }

    fn handle_network(&mut self, arrived: &mut Vec<FromNetwork>) {
        for input in arrived.drain(..) {
            match input {
                FromNetwork::Control(packet, at) => {
                    if let Some(session) = &mut self.session {
                        session.engine.handle_packet(&packet, at);
                    }
                }
                FromNetwork::Member { from, message } => {
                    if let Some(session) = &self.session {
                        self.test_lan.handle_message(from, message, session, &self.data_plane);
                    }
                }
                FromNetwork::EchoReply { sequence, at } => {
                    self.pings.handle_answer(sequence, at, self.session.as_ref())
                }
            }
        }
        self.with_session(|_, _, _| ());
    }

    fn handle_stream(&mut self, event: StreamEvent, inputs: &Inputs) {
        let Some(session) = &mut self.session else { return };
        let _in_party = session.span.clone().entered();
        let outcome = session.handle_stream(event, &self.data_plane);
        session.engine.handle_timeout(Instant::now());
        session.carry_out(&self.data_plane);
        match outcome {
            Outcome::Stays => {}
            Outcome::Moved => self.begin_anew(inputs),
            Outcome::Over(why) => {
                tracing::warn!(reason = %why, "out of the party");
                let name = session.cache.party.name.clone();
                self.notices.push(format!("this PC left the party \"{name}\": {why}"));
                if let Err(error) = self.state.clear_party() {
                    tracing::error!(%error, "the party could not be forgotten on disk");
                }
                self.close_session();
            }
        }
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        let untried = |session: &PartySession| !session.server_reachable && session.server_problem.is_none();
        if !self.session.as_ref().is_some_and(untried) {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    }

    fn current(&self) -> Option<CurrentParty> {
        let session = self.session.as_ref()?;
        Some(CurrentParty {
            cache: session.cache.clone(),
            client: Arc::clone(&session.client),
        })
    }

    fn enter(&mut self, party: CurrentParty, inputs: &Inputs) -> Result<JoinedReport, Failure> {
        entry::check(&party.cache, &self.state.identity().device)?;
        let net = party.cache.party.net;
        let (v4, v6) = (net.member_v4(party.cache.me), net.member_v6(party.cache.me));
        self.adapter.enter(net, party.cache.me).map_err(|error| {
            Failure::new(
                "tun_failed",
                format!("cannot give {} the address {v4}: {error}", self.device.tun),
            )
        })?;
        self.data_plane.set_adapters(adapters(&inputs.interfaces.borrow()));
        let interfaces = own_addresses(&inputs.interfaces.borrow(), self.device.port);
        let (mut session, events) = PartySession::start(
            party.cache,
            party.client,
            self.state.identity(),
            interfaces,
            &self.data_plane,
        );
        let mapped = inputs.port_mapping.borrow().map(SocketAddr::V4);
        session.engine.handle_port_mapping(mapped, Instant::now());
        let games = Arc::clone(&inputs.games.borrow());
        session.engine.handle_game(games.told(), games.tuning().keepalive);
        let report = report::party(&session);
        self.session = Some(session);
        self.stream = Some(events.stream);
        self.relays = Some(events.relays);
        self.services.start_if_wanted(self.session.as_mut());
        let party = report.ok_or_else(|| Failure::new("server_protocol", "the server does not list this device"))?;
        Ok(JoinedReport {
            party,
            virtual_ip: v4,
            virtual_ip6: v6,
            invite: None,
        })
    }

    /// The party has another network: it is entered again, as after a restart. Connections of games end with the addresses
    /// they had, so tunnels that go on would help nobody.
    fn begin_anew(&mut self, inputs: &Inputs) {
        self.save();
        let Some(party) = self.current() else { return };
        let net = party.cache.party.net.v4;
        tracing::info!(%net, "the party has moved to another network");
        self.end_session();
        if let Err(failure) = self.enter(party, inputs) {
            tracing::error!(%failure, "the party's new network cannot be used");
            self.notices.push(format!(
                "the party moved to {net}, which cannot be used here: {failure}; restart the agent with `lanrage down` and `lanrage up`"
            ));
        }
    }

    fn close_session(&mut self) {
        self.end_session();
        self.adapter.leave();
    }

    fn end_session(&mut self) {
        self.session = None;
        self.test_lan.clear();
        self.answer_waiting();
        self.stream = None;
        self.relays = None;
        self.services = Lookup::default();
        self.data_plane.close_all_sides();
        self.data_plane.clear_lan();
        self.data_plane
            .table
            .store(Arc::new(lanrage_agent_core::dataplane::Table::empty(Instant::now())));
    }

    fn save_if_due(&mut self, now: Instant) {
        if self
            .session
            .as_ref()
            .and_then(PartySession::save_at)
            .is_some_and(|at| at <= now)
        {
            self.save();
        }
    }

    fn save(&mut self) {
        let Some(session) = &mut self.session else { return };
        session.saved();
        if let Err(error) = self.state.save_party(&session.cache) {
            tracing::error!(%error, "the party could not be saved; the last good copy stays");
        }
    }
}

/// The next item of a channel that may not be there.
async fn next<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

/// Interface addresses with our UDP port.
fn own_addresses(interfaces: &[LocalAddress], port: u16) -> Vec<SocketAddr> {
    interfaces
        .iter()
        .map(|local| SocketAddr::new(local.address, port))
        .collect()
}
