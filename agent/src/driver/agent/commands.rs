//! What the local API asks of the loop.

use std::time::Instant;

use super::{Agent, Inputs};
use crate::api::{BridgeChange, BridgeReport, Failure, ServerAddress, StatusReport};
use crate::driver::command::Command;
use crate::driver::doctor::Examination;
use crate::driver::metrics::{Numbers, PeerNumbers};
use crate::driver::party::Outcome;
use crate::driver::{bridge, entry, latency, report};
use crate::state::{Farewell, Settings, StateError};

impl Agent {
    pub(super) fn handle_command(&mut self, command: Command, inputs: &Inputs) {
        let now = Instant::now();
        // Whoever asked may be gone by now; then nobody misses the answer.
        match command {
            Command::Status(reply) => {
                let _ = reply.send(self.status(now));
            }
            Command::Examine { fix, reply } => {
                let faults = self.adapter.check(fix);
                let _ = reply.send(Examination {
                    status: self.status(now),
                    relays: report::relays(self.session.as_ref(), now),
                    faults,
                    party: self.current(),
                });
            }
            Command::Peers(reply) => {
                let _ = reply.send(report::peers(self.session.as_ref(), now));
            }
            Command::Tried(reply) => {
                self.waiting.push(reply);
                self.answer_waiting();
            }
            Command::Current(reply) => {
                let _ = reply.send(self.current());
            }
            Command::Enter { party, reply } => {
                self.paid(&Farewell::of(&party.cache));
                let entered = entry::check_lans(&party.cache, &inputs.interfaces.borrow());
                let entered = entered.and_then(|()| Ok(self.state.save_party(&party.cache)?));
                let entered = entered.and_then(|()| self.enter(*party, inputs));
                match &entered {
                    // What was said of another party is settled.
                    Ok(_) => self.notices.clear(),
                    Err(_) => {
                        let _ = self.state.clear_party();
                    }
                }
                let _ = reply.send(entered);
            }
            Command::Remember {
                invite,
                expires_in_s,
                reply,
            } => {
                if let Some(session) = &mut self.session {
                    session.remember_invite(invite, expires_in_s);
                }
                let _ = reply.send(());
            }
            Command::Forget { auth_hash, reply } => {
                if let Some(session) = &mut self.session {
                    session.forget_invite(&auth_hash);
                }
                let _ = reply.send(());
            }
            Command::Relays(reply) => {
                let _ = reply.send(report::relays(self.session.as_ref(), Instant::now()));
            }
            Command::Numbers(reply) => {
                let _ = reply.send(Box::new(self.numbers(now)));
            }
            Command::BeginTest(reply) => {
                let _ = reply.send(self.test_lan.begin(self.session.as_ref(), &self.data_plane));
            }
            Command::SayInTest { to, message, reply } => {
                if let Some(session) = &self.session {
                    self.test_lan.say(to, message, session, &self.data_plane);
                }
                let _ = reply.send(());
            }
            Command::WatchServers { add, remove, reply } => {
                let _ = reply.send(self.watch_servers(add, remove.as_ref()));
            }
            Command::Bridge { change, reply } => {
                let _ = reply.send(self.change_bridge(&change));
            }
            Command::Refresh(reply) => {
                self.with_session(|session, _, now| session.refresh(now));
                let name = self.session.as_ref().map(|session| session.cache.party.name.clone());
                let _ = reply.send(name);
            }
            Command::Move { net, reply } => {
                let outcome = self.session.as_mut().map(|session| session.move_to(net));
                if outcome == Some(Outcome::Moved) {
                    self.begin_anew(inputs);
                }
                let _ = reply.send(());
            }
            Command::Leave(reply) => {
                let owed = self
                    .current()
                    .map_or(Ok(()), |current| self.owe(Farewell::of(&current.cache)));
                let left = owed.and_then(|()| self.state.clear_party());
                let left = left.map_err(Failure::from).map(|()| {
                    let current = self.current();
                    self.close_session();
                    self.notices.clear();
                    current
                });
                let _ = reply.send(left);
            }
            Command::Owe { farewell, reply } => {
                let _ = reply.send(self.owe(farewell).map_err(Failure::from));
            }
            Command::Owed(reply) => {
                let _ = reply.send(self.farewells.clone());
            }
            Command::Paid { farewell, reply } => {
                self.paid(&farewell);
                let _ = reply.send(());
            }
            Command::Ping { target, timeout, reply } => {
                self.pings
                    .start(&target, timeout, reply, self.session.as_ref(), &self.data_plane);
            }
            Command::Down => {}
        }
    }

    fn change_bridge(&mut self, change: &BridgeChange) -> Result<BridgeReport, Failure> {
        let lan = bridge::changed(&self.settings.lan, change)?;
        if lan != self.settings.lan {
            self.set(Settings {
                lan,
                ..self.settings.clone()
            })?;
            self.apply_bridge();
        }
        let lan = self.data_plane.lan.bridge.lock();
        Ok(bridge::report(&self.settings.lan, self.games.len(), &lan))
    }

    /// On disk first.
    fn set(&mut self, settings: Settings) -> Result<(), Failure> {
        self.state.save_settings(&settings)?;
        self.settings = settings;
        Ok(())
    }

    fn watch_servers(&mut self, add: Option<ServerAddress>, remove: Option<&ServerAddress>) -> Result<(), Failure> {
        let mut servers = self.settings.servers.clone();
        if let Some(gone) = remove
            && !servers.remove(gone)
        {
            return Err(Failure::new(
                "not_watched",
                format!("{gone} is not on the list; `lanrage latency` shows it"),
            ));
        }
        servers.extend(add);
        if servers.len() > latency::MOST {
            let most = latency::MOST;
            return Err(Failure::new(
                "too_many_servers",
                format!("{most} servers are watched already; remove one with `lanrage latency remove`"),
            ));
        }
        self.set(Settings {
            servers,
            ..self.settings.clone()
        })?;
        self.tell_servers();
        Ok(())
    }

    /// What is watched from now on.
    pub(super) fn tell_servers(&self) {
        self.servers
            .send_replace(self.settings.servers.iter().cloned().collect());
    }

    /// Lets through what the settings and the known games say.
    pub(super) fn apply_bridge(&self) {
        let policy = bridge::policy(&self.settings.lan, &self.games);
        self.data_plane.lan.bridge.lock().set_policy(policy);
    }

    fn status(&self, now: Instant) -> StatusReport {
        report::status(
            self.device.clone(),
            self.session.as_ref(),
            &self.data_plane.network,
            &self.adapter,
            &self.notices,
            now,
        )
    }

    fn numbers(&self, now: Instant) -> Numbers {
        let session = self.session.as_ref();
        let peers = report::peers(session, now).peers.into_iter();
        let peers = peers.map(|peer| {
            let link = session.and_then(|session| session.link(peer.member));
            PeerNumbers::new(peer, link)
        });
        Numbers {
            status: self.status(now),
            peers: peers.collect(),
            relays: report::relays(session, now),
            bridge: self.data_plane.lan.bridge.lock().counts().clone(),
        }
    }

    /// Notes a farewell that has to be said, on disk first.
    fn owe(&mut self, farewell: Farewell) -> Result<(), StateError> {
        if self.farewells.contains(&farewell) {
            return Ok(());
        }
        let mut farewells = self.farewells.clone();
        farewells.push(farewell);
        self.state.save_farewells(&farewells)?;
        self.farewells = farewells;
        Ok(())
    }

    fn paid(&mut self, farewell: &Farewell) {
        let before = self.farewells.len();
        self.farewells.retain(|owed| owed != farewell);
        if self.farewells.len() < before
            && let Err(error) = self.state.save_farewells(&self.farewells)
        {
            // It is said once more after a restart, which changes nothing.
            tracing::warn!(%error, "a farewell that was said could not be forgotten");
        }
    }
}
