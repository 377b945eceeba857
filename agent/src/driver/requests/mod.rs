//! Answers the local API: talks to control servers itself, and to the agent's loop for everything else.

mod host;
mod membership;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_shared::keys::{DeviceSecret, IdentitySecret};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, watch};

use super::command::{Command, Commands, CurrentParty};
use super::farewells::Farewells;
use super::games::{GamesNow, report};
use super::test_lan;
use crate::api::server::Handler;
use crate::api::{DownReport, Failure, LatenciesReport, RefreshReport, Request, ServerAddress};
use crate::state::PartyCache;

/// Longest wait a ping may ask for.
const MAX_PING_WAIT: Duration = Duration::from_secs(60);

/// Longest wait of `host`, `join` and a move to another network for the control stream, which follows within a few round trips.
const STREAM_WAIT: Duration = Duration::from_secs(2);

/// How often a change is tried while the party changes.
pub(super) const ATTEMPTS: usize = 5;

/// Where progress goes.
pub(super) type Progress = mpsc::UnboundedSender<String>;

/// Everything a request may need.
pub struct Requests {
    pub commands: Commands,
    pub identity: Arc<IdentitySecret>,
    pub device: DeviceSecret,
    pub udp_port: u16,
    pub tun: String,
    /// One change of party at a time.
    pub changing: Arc<Mutex<()>>,
    pub farewells: Arc<Farewells>,
    pub games: watch::Receiver<Arc<GamesNow>>,
    pub latencies: watch::Receiver<Arc<LatenciesReport>>,
}

impl Handler for Requests {
    async fn handle(&self, request: Request, progress: Progress) -> Result<serde_json::Value, Failure> {
        match request {
            Request::Status => json(&self.commands.ask(Command::Status).await?),
            Request::Peers => json(&self.commands.ask(Command::Peers).await?),
            Request::Host { server, party, name } => json(&self.host(&server, party, name, &progress).await?),
            Request::Invite { expires_in_s, max_uses } => json(&self.invite(expires_in_s, max_uses).await?),
            Request::Join { invite, name } => json(&self.join(&invite, name, &progress).await?),
            Request::Leave => json(&self.leave().await?),
            Request::Remove { target, ban } => json(&self.remove(&target, ban).await?),
            Request::Bans { lift } => json(&self.bans(lift).await?),
            Request::Party { change } => json(&self.party(change).await?),
            Request::Transfer { target } => json(&self.transfer(&target).await?),
            Request::Invites { revoke } => json(&self.invites(revoke).await?),
            Request::End { name } => json(&self.end(&name).await?),
            Request::Relays => json(&self.commands.ask(Command::Relays).await?),
            Request::Bridge { change } => json(&self.commands.ask(|reply| Command::Bridge { change, reply }).await??),
            Request::Latency { add, remove } => json(&*self.watch_servers(add, remove).await?),
            Request::TestLan { game } => {
                let games = Arc::clone(&self.games.borrow().library);
                let tell = |text| {
                    let _ = progress.send(text);
                };
                json(&test_lan::asking::run(&self.commands, &games, game.as_deref(), tell).await?)
            }
            Request::Games => json(&report::games(&self.games.borrow(), Instant::now())),
            Request::KnownGames => json(&report::known(&self.games.borrow().library)),
            Request::Refresh => json(&self.refresh().await?),
            Request::Doctor { fix, avoid } => json(&self.doctor(fix, &avoid, &progress).await?),
            Request::Ping { target, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms).min(MAX_PING_WAIT);
                json(
                    &self
                        .commands
                        .ask(|reply| Command::Ping { target, timeout, reply })
                        .await??,
                )
            }
            Request::Down => {
                let commands = self.commands.clone();
                // After the answer is on its way.
                tokio::spawn(async move { commands.0.send(Command::Down).await });
                json(&DownReport {
                    pid: std::process::id(),
                })
            }
        }
    }
}

impl Requests {
    /// Waits for the first word from the control stream, but not for a slow server.
    pub(super) async fn stream_tried(&self) {
        let _ = tokio::time::timeout(STREAM_WAIT, self.commands.ask(Command::Tried)).await;
    }

    /// Changes the list, and waits until it is the one that is watched.
    async fn watch_servers(
        &self,
        add: Option<ServerAddress>,
        remove: Option<ServerAddress>,
    ) -> Result<Arc<LatenciesReport>, Failure> {
        let (added, removed) = (add.clone(), remove.clone());
        let change = |reply| Command::WatchServers { add, remove, reply };
        self.commands.ask(change).await??;
        let is_listed = |report: &LatenciesReport, server: &ServerAddress| {
            report.servers.iter().any(|listed| listed.server == *server)
        };
        let mut latencies = self.latencies.clone();
        let taken = latencies.wait_for(|report| {
            added.as_ref().is_none_or(|server| is_listed(report, server))
                && removed.as_ref().is_none_or(|server| !is_listed(report, server))
        });
        let report = taken
            .await
            .map_err(|_| Failure::new("stopping", "the agent is stopping"))?;
        Ok(Arc::clone(&report))
    }

    async fn refresh(&self) -> Result<RefreshReport, Failure> {
        let party = self.commands.ask(Command::Refresh).await?;
        Ok(RefreshReport {
            party: party.ok_or_else(in_no_party)?,
        })
    }

    pub(super) async fn current(&self) -> Result<CurrentParty, Failure> {
        self.commands.ask(Command::Current).await?.ok_or_else(in_no_party)
    }
}

pub(super) fn must_be_host(cache: &PartyCache, what: &str) -> Result<(), Failure> {
    let party = &cache.party;
    if party.host == cache.me {
        return Ok(());
    }
    let host = party.members.iter().find(|member| member.id == party.host);
    let host = host.map_or("the host".to_owned(), |host| host.name.to_string());
    Err(Failure::new(
        "not_host",
        format!("only the party's host can {what}: ask {host}"),
    ))
}

pub(super) fn busy() -> Failure {
    Failure::new("busy", "members are coming and going all the time; try again")
}

fn in_no_party() -> Failure {
    Failure::new(
        "no_party",
        "this PC is in no party; `lanrage join <invite>` or `lanrage host <server-link>` first",
    )
}

fn json(report: &impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(report)
        .map_err(|error| Failure::new("internal", format!("the answer could not be written: {error}")))
}
